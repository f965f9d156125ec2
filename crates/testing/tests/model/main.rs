//! The model of the hook with policies, with programs by clang, and with programs that the tests on the kernel have too.

mod compiled_policies;
mod objects;
mod parsed_values;
mod return_values;
