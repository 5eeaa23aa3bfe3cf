"""The engine process, and the jobs that it carries out."""
