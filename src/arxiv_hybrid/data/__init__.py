"""Where papers come from, what their labels are, how they are split and audited."""
