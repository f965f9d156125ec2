//! Tests of the server as a client sees it, on a machine with a few files and knobs.

mod actions;
mod client;
mod completions;
mod files;
mod hovers;
mod lifecycle;

pub(crate) use client::{Client, FakeMachine, NoMachine};
