//! A name for each class of a partition.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use foldhash::HashSet;
use knobgate_glob::Dfa;
use knobgate_policy::limits::NAME_MAX;

/// The node in which every name starts.
const START: usize = 0;

/// Finds names by the class in which an automaton puts them. A node is a state of the automaton, twice: at the start of a
/// component, and inside of one.
pub(crate) struct ExampleNames<'a> {
    dfa: &'a Dfa,
    states: Vec<(u32, &'a [u32])>,
    /// The bytes of each class of bytes, those that are easiest to read first.
    bytes: Vec<Vec<u8>>,
    /// For each class of names, one of its shortest names.
    shortest: Vec<Option<Vec<u8>>>,
}

impl<'a> ExampleNames<'a> {
    /// For an automaton whose outputs are below `classes`.
    pub(crate) fn new(dfa: &'a Dfa, classes: usize) -> Self {
        let states: Vec<_> = dfa.states().collect();
        let mut bytes = vec![Vec::new(); states[0].1.len()];
        let letters = b'a'..=b'z';
        let others = (1..=u8::MAX).filter(|byte| !byte.is_ascii_lowercase());
        let mut others: Vec<u8> = others.collect();
        others.sort_by_key(|byte| (is_odd(*byte), !byte.is_ascii_graphic()));
        for byte in letters.chain(others) {
            bytes[usize::from(dfa.byte_classes()[usize::from(byte)])].push(byte);
        }
        let mut names = Self { dfa, states, bytes, shortest: vec![None; classes] };
        names.find_shortest();
        names
    }

    /// A name of this class that is not in `taken`; `None` if there is none of at most [`NAME_MAX`] bytes.
    pub(crate) fn of_class(&self, class: usize, taken: &HashSet<&[u8]>) -> Option<Vec<u8>> {
        let shortest = self.shortest[class].as_ref()?;
        if !taken.contains(shortest.as_slice()) {
            return Some(shortest.clone());
        }
        self.search(class, taken)
    }

    fn is_end(&self, node: usize) -> bool {
        node >= self.states.len()
    }

    fn next(&self, node: usize, byte: u8) -> Option<usize> {
        let row = self.states[node % self.states.len()].1;
        let next = row[usize::from(self.dfa.byte_classes()[usize::from(byte)])] as usize;
        match byte {
            b'/' if self.is_end(node) => Some(next),
            b'/' => None,
            _ => Some(next + self.states.len()),
        }
    }

    fn output(&self, node: usize) -> usize {
        self.states[node % self.states.len()].0 as usize
    }

    /// Breadth first: the first name that reaches a class is one of its shortest.
    fn find_shortest(&mut self) {
        let mut from: Vec<Option<(usize, u8)>> = vec![None; 2 * self.states.len()];
        let mut queue = VecDeque::from([(START, 0)]);
        let firsts = self.bytes.iter().filter_map(|bytes| bytes.iter().find(|byte| **byte != b'/'));
        let mut firsts: Vec<u8> = firsts.copied().collect();
        firsts.sort_by_key(|byte| (is_odd(*byte), !byte.is_ascii_lowercase()));
        firsts.push(b'/');
        while let Some((node, length)) = queue.pop_front() {
            if self.is_end(node) && self.shortest[self.output(node)].is_none() {
                let mut name = Vec::new();
                let mut at = node;
                while let Some((before, byte)) = from[at].filter(|_| name.len() < length) {
                    name.push(byte);
                    at = before;
                }
                name.reverse();
                let class = self.output(node);
                self.shortest[class] = Some(name);
            }
            if length == NAME_MAX {
                continue;
            }
            for &byte in &firsts {
                if let Some(next) = self.next(node, byte)
                    && from[next].is_none()
                    && next != START
                {
                    from[next] = Some((node, byte));
                    queue.push_back((next, length + 1));
                }
            }
        }
    }

    /// The names of a class, the shortest first, until one is not taken. No step leads away from all of them.
    fn search(&self, class: usize, taken: &HashSet<&[u8]>) -> Option<Vec<u8>> {
        let to_go = self.distances(class);
        // Of names that get equally long, the one that is further.
        let mut open = BinaryHeap::new();
        open.push((Reverse(to_go[START]?), Vec::<u8>::new(), START));
        while let Some((_, name, node)) = open.pop() {
            let is_done = self.is_end(node) && self.output(node) == class && !name.is_empty();
            if is_done && !taken.contains(name.as_slice()) {
                return Some(name);
            }
            for &byte in self.bytes.iter().flatten() {
                let Some(next) = self.next(node, byte) else { continue };
                let Some(length) = to_go[next].map(|to_go| name.len() + 1 + to_go) else { continue };
                if length <= NAME_MAX {
                    let mut longer = name.clone();
                    longer.push(byte);
                    open.push((Reverse(length), longer, next));
                }
            }
        }
        None
    }

    /// How many bytes lead from each node to the end of a name of this class, at least.
    fn distances(&self, class: usize) -> Vec<Option<usize>> {
        let nodes = 2 * self.states.len();
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); nodes];
        for node in 0..nodes {
            let nexts: HashSet<usize> =
                self.bytes.iter().flatten().filter_map(|&byte| self.next(node, byte)).collect();
            nexts.into_iter().for_each(|next| before[next].push(node));
        }
        let mut distances = vec![None; nodes];
        let mut queue: VecDeque<usize> =
            (0..nodes).filter(|&node| self.is_end(node) && self.output(node) == class).collect();
        queue.iter().for_each(|&node| distances[node] = Some(0));
        while let Some(node) = queue.pop_front() {
            for &previous in &before[node] {
                if distances[previous].is_none() {
                    distances[previous] = distances[node].map(|distance| distance + 1);
                    queue.push_back(previous);
                }
            }
        }
        distances
    }
}

/// Whether names of knobs rarely have this byte.
fn is_odd(byte: u8) -> bool {
    !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
