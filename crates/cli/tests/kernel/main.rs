//! The commands that enforce policies, on the running kernel.
//!
//! Whatever is written here is written in network, host name and IPC namespaces of its own, and no program is ever
//! attached to the root of the hierarchy.

mod attachments;
mod examples;
mod lacking;
mod machine;
mod many;
mod no_process;
mod objects;
mod runs;
mod setting;
mod signals;
mod simulations;
        verdicts::TESTS,
