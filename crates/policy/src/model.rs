//! A checked policy as data. The constructors check, so every value of these types is valid, whether it comes from
//! text, from JSON or from a program. [`evaluate`](crate::evaluate()) and the compiler have nothing left to check.

mod condition;
mod error;
mod list;
mod logging;
mod operand;
mod policy;
mod range;
mod rule;
mod test;
mod value_text;

pub use condition::{Chain, Condition, InRange, InRanges, InSet, ListTest, Relation, TextOperand, TextTest};
pub use error::PolicyError;
pub use list::{List, WrongLength};
pub use logging::{EventRate, Logging};
pub use operand::{ElementIndex, Elements, Mask, Operand, Value};
pub use policy::{Defaults, Fallback, FallbackAction, Mode, Policy};
pub use range::Range;
pub use rule::{Action, Kinds, Rule};
pub use test::{Expected, Test, TestStep};
pub use value_text::ValueText;

pub(crate) use policy::is_name_character;
pub(crate) use rule::check_kinds;
pub(crate) use value_text::ends_text;
