//! The example in docs/programs.md: a program, and its test in tests/.
