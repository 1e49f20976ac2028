"""The machine around the project: files, streams, downloads, git, errors, the runtime."""
