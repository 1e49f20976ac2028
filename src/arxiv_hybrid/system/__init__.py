"""General infrastructure: errors, files, streams, HTTP, downloads, git, runtime."""
