"""Subjects of libraries on top of JAX. Each adapter is imported when there is such a subject."""
