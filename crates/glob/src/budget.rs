//! How large an automaton may get, and how much work it may take.

/// The largest automaton, in table entries: one for each state and byte class, and one more for each state.
pub const ENTRIES_MAX: usize = 1 << 22;

/// What may be spent on automata. One budget can be spent on several of them.
#[derive(Debug, Clone)]
pub struct Budget {
    steps: usize,
    states: usize,
}

/// An automaton needs more than [`ENTRIES_MAX`], or more than was left of the [`Budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl Budget {
    /// So many steps from one state of an NFA to another. 2²⁶ of them take about a second.
    pub fn steps(steps: usize) -> Self {
        Self { steps, states: usize::MAX }
    }

    /// The same, and so many states at most for one automaton, before it is minimised.
    #[must_use]
    pub fn states(self, states: usize) -> Self {
        Self { states, ..self }
    }

    /// How many steps are left.
    pub fn steps_left(&self) -> usize {
        self.steps
    }

    pub(crate) fn states_max(&self) -> usize {
        self.states
    }

    /// Takes so many steps from it.
    ///
    /// # Errors
    /// None are left.
    pub fn spend(&mut self, steps: usize) -> Result<(), TooLarge> {
        self.steps = self.steps.saturating_sub(steps);
        if self.steps == 0 { Err(TooLarge) } else { Ok(()) }
    }
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the patterns make too large an automaton")
    }
}

impl std::error::Error for TooLarge {}
