//! The model of the hook with policies, with programs by clang, and with other programs that the kernel gets too.

mod compiled_policies;
mod corpus;
mod kernel_cases;
mod objects;
mod parsed_values;
mod return_values;
mod support;
