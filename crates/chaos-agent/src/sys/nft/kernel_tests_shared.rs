//! Partitions of single processes in a shared network namespace, against the real kernel.
