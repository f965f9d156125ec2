//! What waits to be written to the agent's log.
//!
//! Anybody whom a policy judges can have any number of decisions logged, so they have a queue of their own: they cannot keep what the
//! agent itself has to say out of the log.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many decisions wait.
const DECISIONS_MAX: usize = 1024;
/// How many notices do. When the agent starts, there can be some for each cgroup.
const NOTICES_MAX: usize = 4096;
/// The pause between two reports of what was lost, while there is more to write.
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// What an entry is, which says in which queue it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// What the agent has to say.
    Notice,
    /// What a policy decided.
    Decision,
}

/// How many entries were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lost {
    pub(super) notices: u64,
    pub(super) decisions: u64,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// An entry.
    Entry(T, Class),
    /// That entries were lost.
    Lost(Lost),
}

/// Puts entries into a queue, which ends when the last one of these is dropped.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Closed<T>>);

#[derive(Debug)]
struct Closed<T>(Arc<Queue<T>>);

/// The queue, for the one who writes.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Queue<T>>);

#[derive(Debug)]
struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting<T> {
    notices: VecDeque<T>,
    decisions: VecDeque<T>,
    lost: Lost,
    /// When it was last said that something was lost.
    said: Option<Instant>,
    /// It could not be said, and nothing was written since.
    is_mute: bool,
    is_closed: bool,
}

/// A new queue.
pub(super) fn queue<T>() -> (Sender<T>, Receiver<T>) {
    let waiting = Waiting {
        notices: VecDeque::new(),
        decisions: VecDeque::new(),
        lost: Lost::default(),
        said: None,
        is_mute: false,
        is_closed: false,
    };
    let queue = Arc::new(Queue { waiting: Mutex::new(waiting), changed: Condvar::new() });
    (Sender(Arc::new(Closed(Arc::clone(&queue)))), Receiver(queue))
}

impl<T> Sender<T> {
    /// Adds an entry, unless there is no room: then it is lost, which is `false`. Never waits for whoever writes.
    pub(super) fn send(&self, entry: T, class: Class) -> bool {
        let queue = &self.0.0;
        let mut waiting = queue.lock();
        let (entries, most) = match class {
            Class::Notice => (&mut waiting.notices, NOTICES_MAX),
            Class::Decision => (&mut waiting.decisions, DECISIONS_MAX),
        };
        let has_room = entries.len() < most;
        if has_room {
            entries.push_back(entry);
        } else {
            waiting.lost.add(class);
        }
        drop(waiting);
        queue.changed.notify_one();
        has_room
    }
}

impl<T> Receiver<T> {
    /// Waits for what is to be written next: notices before decisions. `None` at the end.
    pub(super) fn next(&self) -> Option<Next<T>> {
        let mut waiting = self.0.lock();
        loop {
            if waiting.lost != Lost::default() && waiting.may_say_so() {
                waiting.said = Some(Instant::now());
                return Some(Next::Lost(std::mem::take(&mut waiting.lost)));
            }
            if let Some(notice) = waiting.notices.pop_front() {
                return Some(Next::Entry(notice, Class::Notice));
            }
            if let Some(decision) = waiting.decisions.pop_front() {
                return Some(Next::Entry(decision, Class::Decision));
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What [`next`](Self::next) has returned was written.
    pub(super) fn written(&self) {
        self.0.lock().is_mute = false;
    }

    /// It could not be written.
    pub(super) fn failed(&self, class: Class) {
        self.0.lock().lost.add(class);
    }

    /// That entries were lost could not be written. It is tried again when something else was.
    pub(super) fn not_said(&self, lost: Lost) {
        let mut waiting = self.0.lock();
        waiting.lost.notices += lost.notices;
        waiting.lost.decisions += lost.decisions;
        waiting.is_mute = true;
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Waiting<T> {
    /// Whether it is time to say what was lost: when all else is written, and now and then before.
    fn may_say_so(&self) -> bool {
        let is_idle = self.notices.is_empty() && self.decisions.is_empty();
        !self.is_mute && (is_idle || self.said.is_none_or(|at| at.elapsed() >= LOST_PAUSE))
    }
}

impl Lost {
    fn add(&mut self, class: Class) {
        match class {
            Class::Notice => self.notices += 1,
            Class::Decision => self.decisions += 1,
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Closed<T> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is left to write.
    fn rest(receiver: &Receiver<usize>) -> Vec<Next<usize>> {
        std::iter::from_fn(|| receiver.next()).collect()
    }

    #[test]
    fn a_flood_of_decisions_keeps_no_notice_out() {
        let (sender, receiver) = queue();
        for decision in 0..DECISIONS_MAX + 3000 {
            assert_eq!(sender.send(decision, Class::Decision), decision < DECISIONS_MAX);
        }
        for notice in 0..NOTICES_MAX {
            assert!(sender.send(notice, Class::Notice), "{notice}");
        }
        drop(sender);
        let lost = Lost { notices: 0, decisions: 3000 };
        let notices = (0..NOTICES_MAX).map(|notice| Next::Entry(notice, Class::Notice));
        let decisions = (0..DECISIONS_MAX).map(|decision| Next::Entry(decision, Class::Decision));
        let expected: Vec<_> = [Next::Lost(lost)].into_iter().chain(notices).chain(decisions).collect();
        assert!(rest(&receiver) == expected);
    }

    #[test]
    fn what_cannot_be_written_is_said_when_something_can() {
        let (sender, receiver) = queue();
        sender.send(1, Class::Decision);
        assert_eq!(receiver.next(), Some(Next::Entry(1, Class::Decision)));
        receiver.failed(Class::Decision);
        let lost = Lost { notices: 0, decisions: 1 };
        assert_eq!(receiver.next(), Some(Next::Lost(lost)));
        receiver.not_said(lost);
        sender.send(2, Class::Notice);
        assert_eq!(receiver.next(), Some(Next::Entry(2, Class::Notice)));
        receiver.written();
        drop(sender.clone());
        drop(sender);
        assert_eq!(rest(&receiver), [Next::Lost(lost)]);
    }

    #[test]
    fn the_end_is_waited_for() {
        let (sender, receiver) = queue();
        let writer = std::thread::spawn(move || rest(&receiver));
        sender.send(1, Class::Notice);
        drop(sender);
        assert_eq!(writer.join().unwrap(), [Next::Entry(1, Class::Notice)]);
    }
}
