//! Which event belongs to which system call.
//!
//! A thread makes one system call at a time. So the accesses of a system call are the last ones of its thread before its
//! return, and none of them is before the first one that was counted for this return. Events and returns come from two ring
//! buffers, and either may come first. Either may be lost, and the kernel gives the id of a thread that has ended to another
//! one: what does not belong together then stays without a result.

use std::collections::{HashMap, VecDeque};

use knobgate_events::{CallResult, UnknownResult};

/// How many events of a thread wait for the return of their system call. The threads of io_uring never return.
const WAITING_MAX: usize = 64;

/// Events and returns that wait for each other.
#[derive(Debug)]
pub(crate) struct Pairing<E> {
    threads: HashMap<u32, Thread<E>>,
}

/// What waits of one thread, both in order.
#[derive(Debug)]
struct Thread<E> {
    /// With their times.
    events: VecDeque<(u64, E)>,
    returns: VecDeque<Return>,
}

/// The return of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Return {
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub(crate) boot_time: u64,
    /// When its first access was, or shortly before.
    pub(crate) first_access: u64,
    /// What it returned.
    pub(crate) value: i64,
    /// How many accesses it made.
    pub(crate) accesses: u32,
}

impl<E> Pairing<E> {
    pub(crate) fn new() -> Self {
        Self { threads: HashMap::new() }
    }

    /// Adds an event of a thread, at this time; those of a thread in their order.
    pub(crate) fn event(
        &mut self,
        tid: u32,
        boot_time: u64,
        event: E,
        consume: &mut dyn FnMut(E, CallResult),
    ) {
        let thread = self.threads.entry(tid).or_default();
        thread.events.push_back((boot_time, event));
        thread.settle(consume);
        if thread.events.len() > WAITING_MAX
            && let Some((_, first)) = thread.events.pop_front()
        {
            consume(first, CallResult::Unknown(UnknownResult::NotSeen));
        }
        self.forget_if_idle(tid);
    }

    /// Adds the return of a system call of a thread; those of a thread in their order.
    pub(crate) fn returned(&mut self, tid: u32, call: Return, consume: &mut dyn FnMut(E, CallResult)) {
        let thread = self.threads.entry(tid).or_default();
        thread.returns.push_back(call);
        thread.settle(consume);
        self.forget_if_idle(tid);
    }

    /// Gives out what still waits: no event and no return comes any more.
    pub(crate) fn end(mut self, consume: &mut dyn FnMut(E, CallResult)) {
        for thread in self.threads.values_mut() {
            while let Some(call) = thread.returns.pop_front() {
                thread.end_call(call, consume);
            }
            for (_, event) in thread.events.drain(..) {
                consume(event, CallResult::Unknown(UnknownResult::NotSeen));
            }
        }
    }

    fn forget_if_idle(&mut self, tid: u32) {
        if self.threads.get(&tid).is_some_and(|thread| thread.events.is_empty() && thread.returns.is_empty())
        {
            self.threads.remove(&tid);
        }
    }
}

impl<E> Default for Thread<E> {
    fn default() -> Self {
        Self { events: VecDeque::new(), returns: VecDeque::new() }
    }
}

impl<E> Thread<E> {
    /// Ends the system calls all of whose events have come.
    fn settle(&mut self, consume: &mut dyn FnMut(E, CallResult)) {
        while let Some(&call) = self.returns.front() {
            let before = self.events_until(call.boot_time);
            let own = before - self.events_before(call.first_access);
            // A later event has come, so no earlier one is missing, unless it is lost.
            let is_complete = own >= call.accesses as usize || before < self.events.len();
            if !is_complete {
                return;
            }
            self.returns.pop_front();
            self.end_call(call, consume);
        }
    }

    /// Gives out the events up to the return of a system call. The last ones are its own; those before it have lost theirs.
    fn end_call(&mut self, call: Return, consume: &mut dyn FnMut(E, CallResult)) {
        let before = self.events_until(call.boot_time);
        let others = before.saturating_sub(call.accesses as usize).max(self.events_before(call.first_access));
        for (index, (_, event)) in self.events.drain(..before).enumerate() {
            let result = match call.accesses {
                _ if index < others => CallResult::Unknown(UnknownResult::NotSeen),
                1 => CallResult::Returned(call.value),
                _ => CallResult::Unknown(UnknownResult::SeveralAccesses),
            };
            consume(event, result);
        }
    }

    fn events_until(&self, time: u64) -> usize {
        self.events.iter().take_while(|(boot_time, _)| *boot_time <= time).count()
    }

    fn events_before(&self, time: u64) -> usize {
        self.events.iter().take_while(|(boot_time, _)| *boot_time < time).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallResult::{Returned, Unknown};
    use UnknownResult::{NotSeen, SeveralAccesses};

    /// What comes of one thread.
    #[derive(Clone, Copy)]
    enum Step {
        Event(u64),
        /// The time of its first access, its own time, its value, and how many accesses it made.
        Return(u64, u64, i64, u32),
    }

    /// The times of the events with their results.
    fn paired(steps: &[Step]) -> Vec<(u64, CallResult)> {
        let (mut pairing, mut results) = (Pairing::new(), Vec::new());
        for step in steps {
            let consume: &mut dyn FnMut(u64, CallResult) = &mut |event, result| results.push((event, result));
            match *step {
                Step::Event(time) => pairing.event(7, time, time, consume),
                Step::Return(first_access, boot_time, value, accesses) => {
                    pairing.returned(7, Return { boot_time, first_access, value, accesses }, consume);
                }
            }
        }
        pairing.end(&mut |event, result| results.push((event, result)));
        results
    }

    #[test]
    fn events_find_the_return_of_their_system_call() {
        use Step::{Event, Return};
        for (steps, expected) in [
            (vec![Event(1), Return(1, 2, 3, 1)], vec![(1, Returned(3))]),
            // The return came first.
            (vec![Return(1, 2, -22, 1), Event(1)], vec![(1, Returned(-22))]),
            (
                vec![Event(1), Event(3), Return(1, 2, 3, 1), Return(3, 4, -1, 1)],
                vec![(1, Returned(3)), (3, Returned(-1))],
            ),
            (
                vec![Event(1), Event(2), Return(1, 3, 9, 2)],
                vec![(1, Unknown(SeveralAccesses)), (2, Unknown(SeveralAccesses))],
            ),
            // The return of the first was not seen.
            (vec![Event(1), Event(3), Return(3, 4, 3, 1)], vec![(1, Unknown(NotSeen)), (3, Returned(3))]),
            // The event of the first return is lost.
            (vec![Return(1, 2, 5, 1), Event(3), Return(3, 4, 3, 1)], vec![(3, Returned(3))]),
            // The return of the first and the event of the second are lost, of one thread or of two with the same id.
            (vec![Event(1), Return(3, 4, 5, 1)], vec![(1, Unknown(NotSeen))]),
            // So is the event of the first, but that of the second comes later.
            (vec![Event(1), Return(3, 4, 5, 1), Event(3)], vec![(1, Unknown(NotSeen)), (3, Returned(5))]),
            // The first access was of a thread that never returned, and only one event of the other is there.
            (
                vec![Event(1), Event(4), Return(3, 5, 5, 2), Event(6)],
                vec![(1, Unknown(NotSeen)), (4, Unknown(SeveralAccesses)), (6, Unknown(NotSeen))],
            ),
            (vec![Event(1)], vec![(1, Unknown(NotSeen))]),
        ] {
            assert_eq!(paired(&steps), expected);
        }
    }

    #[test]
    fn only_so_many_events_wait() {
        let (mut pairing, mut count) = (Pairing::new(), 0);
        for time in 1..=1000 {
            pairing.event(7, time, time, &mut |_, _| count += 1);
        }
        assert_eq!(count, 1000 - WAITING_MAX);
    }
}
