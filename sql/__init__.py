"""The SQL models as package data: macros, staging, marts, views and checks, and the boards."""
