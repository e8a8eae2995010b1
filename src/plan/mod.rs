//! Desired and observed state to operations. Pure: what `--dry-run` prints and tests read.
