//! Queues and stacks: kernel/bpf/queue_stack_maps.c.

use std::collections::VecDeque;

use super::error::{ANY, EXIST, MapError};

/// A queue, or a stack.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    /// Oldest first.
    values: VecDeque<Vec<u8>>,
    max_entries: usize,
    newest_first: bool,
}

impl Queue {
    pub(super) fn new(max_entries: usize, newest_first: bool) -> Self {
        Self { values: VecDeque::new(), max_entries, newest_first }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether one more value takes more memory.
    pub(super) fn adds(&self) -> bool {
        self.values.len() < self.max_entries
    }

    /// Adds a value. With [`EXIST`], it replaces the oldest one if the queue is full.
    pub(super) fn push(&mut self, value: &[u8], flags: u64) -> Result<(), MapError> {
        if flags != ANY && flags != EXIST {
            return Err(MapError::Invalid);
        }
        if self.values.len() >= self.max_entries {
            if flags != EXIST {
                return Err(MapError::TooBig);
            }
            self.values.pop_front();
        }
        self.values.push_back(value.to_vec());
        Ok(())
    }

    pub(super) fn peek(&self) -> Option<&[u8]> {
        let next = if self.newest_first { self.values.back() } else { self.values.front() };
        next.map(Vec::as_slice)
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        if self.newest_first { self.values.pop_back() } else { self.values.pop_front() }
    }

    /// In the order in which they come out.
    pub(super) fn values(&self) -> Vec<Vec<u8>> {
        let oldest_first = self.values.iter().cloned();
        if self.newest_first { oldest_first.rev().collect() } else { oldest_first.collect() }
    }
}
