//! A checked policy as data. Every value of these types is valid: the checker (from text) and the JSON reader
//! are the only ways to make one from outside, so that [`evaluate`](crate::evaluate()) and the compiler have
//! nothing left to check.

use crate::{Errno, Integer, KnobPattern, Text, TextGlob};

/// An ordered list of rules, the defaults, a mode, and the tests that came with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name in the header: letters, digits, `-`, `_` and `.`, at most
    /// [`POLICY_NAME_MAX`](crate::limits::POLICY_NAME_MAX) bytes.
    pub name: String,
    /// Whether decisions are enforced.
    pub mode: Mode,
    /// What happens to an access that no rule takes.
    pub defaults: Defaults,
    /// The rules, in order: the first that matches decides.
    pub rules: Vec<Rule>,
    /// The `test` blocks.
    pub tests: Vec<Test>,
    /// `width 64 …`: knobs whose handlers keep 64 bits of a number, other than those that are
    /// [known](crate::Width::all_known).
    pub width_64: Vec<KnobPattern>,
}

/// Whether decisions are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Decide and enforce.
    #[default]
    Enforce,
    /// Decide and report, and let every access pass as it is.
    Audit,
}

/// The default for each kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// For reads; `allow` in a policy that states none.
    pub read: Fallback,
    /// For writes; `deny` in a policy that states none.
    pub write: Fallback,
}

/// What one default does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// Let it pass, or the errno with which to deny it.
    pub action: FallbackAction,
    /// `log` or `nolog` as written; absent, a denial logs.
    pub log: Option<bool>,
}

/// The action of a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackAction {
    /// Let it pass.
    Allow,
    /// Deny it.
    Deny(Errno),
}

/// One rule: kinds of access, name patterns, an optional condition, an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it does to an access that it matches.
    pub action: Action,
    /// The kinds of access that it looks at.
    pub kinds: Kinds,
    /// The knobs that it looks at; never empty.
    pub patterns: Vec<KnobPattern>,
    /// What must hold besides.
    pub condition: Option<Condition>,
    /// `log` or `nolog` as written; absent, denials and rewrites log.
    pub log: Option<bool>,
}

/// Which kinds of access a rule looks at; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// `read`
    Read,
    /// `write`
    Write,
    /// `read write`
    Both,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Let the access pass.
    Allow,
    /// Deny it with this errno.
    Deny(Errno),
    /// Write this text instead. It has no NUL and no newline. Only in rules for writes alone.
    Set(Text),
    /// Move each number into its range. Only in rules for writes alone; never empty, and at most
    /// [`ELEMENTS_MAX`](crate::limits::ELEMENTS_MAX) long. The new value must hold exactly as many numbers
    /// as there are ranges.
    Clamp(Vec<Range>),
    /// Write the current value again. Only in rules for writes alone.
    Ignore,
}

/// An interval of integers, both ends included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The lowest member; absent, there is none.
    pub low: Option<Integer>,
    /// The highest member; absent, there is none.
    pub high: Option<Integer>,
}

/// A condition. Operands are evaluated from left to right, each only when its turn comes: `and`, `or` and a
/// chain of comparisons stop as soon as their result is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `… and …`, two or more.
    All(Vec<Condition>),
    /// `… or …`, two or more.
    Any(Vec<Condition>),
    /// `not …`
    Not(Box<Condition>),
    /// `a < b <= c`: holds where every link does. At least one link.
    Chain {
        /// The leftmost operand.
        first: Operand,
        /// The others, each with its relation to the one before.
        links: Vec<(Relation, Operand)>,
    },
    /// `… in A..B`; at least one end is given.
    InRange(Operand, Range),
    /// `… in {1, 2}`; never empty.
    InSet(Operand, Vec<Integer>),
    /// A predicate on text.
    Text(TextOperand, TextTest),
}

/// How two integers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// An integer in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A literal.
    Literal(Integer),
    /// `new` or `old`: a value of exactly one number.
    Only(Value),
    /// `new[i]` or `old[i]`; `i` counts from 0 and is below
    /// [`ELEMENTS_MAX`](crate::limits::ELEMENTS_MAX).
    Element(Value, u8),
    /// `count(new)` or `count(old)`: how many numbers the value holds.
    Count(Value),
    /// `pos`: the file position as the hook shows it, which is its low 32 bits.
    Pos,
    /// `uid`: the real user id of the task, in the initial user namespace.
    Uid,
    /// `gid`: the real group id of the task, in the initial user namespace.
    Gid,
}

/// One of the two values of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// `new`: what the caller writes.
    New,
    /// `old`: what the knob holds.
    Old,
}

/// A text in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOperand {
    /// The text of `new` or `old`: what stands before the first newline or NUL.
    Value(Value),
    /// `comm`: the name of the task, at most 15 bytes.
    Comm,
}

/// A predicate on text. The texts have no NUL and no newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextTest {
    /// `== "text"`
    Equals(Text),
    /// `!= "text"`
    Differs(Text),
    /// `in {"a", "b"}`; never empty.
    In(Vec<Text>),
    /// `matches "glob"`
    Matches(TextGlob),
    /// `starts with "text"`
    StartsWith(Text),
    /// `contains "text"`
    Contains(Text),
}

/// A `test` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What the test states.
    pub name: String,
    /// Its accesses with what must become of each; each stands for itself.
    pub steps: Vec<TestStep>,
}

/// One line of a `test` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestStep {
    /// The access.
    pub access: crate::Access,
    /// What must become of it.
    pub expected: Expected,
}

/// What a test expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// `allow`
    Allow,
    /// `deny` with any errno, or `deny EPERM` with that one.
    Deny(Option<Errno>),
    /// `set "text"`: rewritten to exactly these bytes.
    Set(Text),
}

impl Kinds {
    /// Whether accesses of `kind` are among them.
    pub fn contains(self, kind: crate::AccessKind) -> bool {
        use crate::AccessKind::{Read, Write};
        matches!((self, kind), (Kinds::Both, _) | (Kinds::Read, Read) | (Kinds::Write, Write))
    }
}

impl Range {
    /// Whether `integer` lies inside.
    pub fn contains(&self, integer: Integer) -> bool {
        self.low.is_none_or(|low| low <= integer) && self.high.is_none_or(|high| integer <= high)
    }
}

impl Rule {
    /// Whether an event is sent when this rule decides: as written, else for denials and rewrites.
    pub fn logs(&self) -> bool {
        self.log.unwrap_or(self.action != Action::Allow)
    }
}

impl Fallback {
    /// Whether an event is sent when this default decides: as written, else for denials.
    pub fn logs(&self) -> bool {
        self.log.unwrap_or(self.action != FallbackAction::Allow)
    }
}

impl Defaults {
    /// The default for accesses of `kind`.
    pub fn of(&self, kind: crate::AccessKind) -> Fallback {
        match kind {
            crate::AccessKind::Read => self.read,
            crate::AccessKind::Write => self.write,
        }
    }
}

impl Default for Defaults {
    /// What a policy gets that states none: `read allow`, `write deny`.
    fn default() -> Self {
        Self {
            read: Fallback { action: FallbackAction::Allow, log: None },
            write: Fallback { action: FallbackAction::Deny(Errno::EPERM), log: None },
        }
    }
}
