"""Infrastructure below the project: errors, files, streams, HTTP, downloads, git, runtime."""
