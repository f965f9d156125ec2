//! Which knobs are asked for.

use std::collections::{BTreeMap, BTreeSet};

use knobgate_catalogue::{Knob, all, find};
use knobgate_policy::{KnobName, KnobPattern, catalogue};

use super::entry::{Entry, dotted};
use super::machine::ThisMachine;
use crate::failure::Failure;

/// The knobs that are asked for.
pub(super) struct Selection {
    /// Sorted by name.
    pub(super) entries: Vec<Entry>,
    /// Whether each was asked for by its name.
    pub(super) is_named: bool,
}

/// One argument.
enum Wanted {
    /// Everything.
    All,
    /// An entry, by its pattern.
    Entry(&'static Knob),
    Pattern(KnobPattern),
}

impl Selection {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// One is no pattern, or matches no knob.
    pub(super) fn of(arguments: &[String], machine: &ThisMachine) -> Result<Self, Failure> {
        let wanted = match arguments {
            [] => vec![Wanted::All],
            arguments => arguments.iter().map(|text| Wanted::parse(text)).collect::<Result<_, _>>()?,
        };
        // By the pattern of the catalogue, the machine's names; and those that the catalogue lacks.
        let mut known: BTreeMap<&'static str, (&'static Knob, BTreeSet<&KnobName>)> = BTreeMap::new();
        let mut unknown: BTreeSet<&KnobName> = BTreeSet::new();
        for (index, wanted) in wanted.iter().enumerate() {
            let mut is_found = false;
            for knob in wanted.knobs()? {
                is_found = true;
                known.entry(knob.pattern()).or_insert((knob, BTreeSet::new()));
            }
            for name in machine.names().iter().filter(|name| wanted.takes(name)) {
                is_found = true;
                match find(name.as_bytes()) {
                    Some(knob) => {
                        known.entry(knob.pattern()).or_insert((knob, BTreeSet::new())).1.insert(name);
                    }
                    None => {
                        unknown.insert(name);
                    }
                }
            }
            if !is_found {
                return Err(nothing(&arguments[index], wanted, machine));
            }
        }
        let known = known
            .into_values()
            .map(|(knob, names)| Entry::known(knob, &names.into_iter().collect::<Vec<_>>(), machine));
        let unknown = unknown.into_iter().map(|name| Entry::unknown(name.clone(), machine));
        let mut entries: Vec<Entry> = known.chain(unknown).collect();
        entries.sort_by_key(Entry::name);
        let is_named = wanted.iter().all(Wanted::is_name);
        Ok(Self { entries, is_named })
    }
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Failure> {
        if text.contains('<') {
            // As the list shows it. A pattern of a policy cannot have this character.
            let of_pattern = |knob: &&Knob| knob.pattern() == text || dotted(knob.pattern()) == text;
            let knob = all().iter().find(of_pattern);
            return knob.map(Self::Entry).ok_or_else(|| {
                let failure = Failure::usage(format!("no entry of the catalogue is called `{text}`"));
                failure.because("`knobgate knobs` lists them")
            });
        }
        let text = text.strip_prefix("/proc/sys/").unwrap_or(text);
        let pattern = KnobPattern::parse(text).map_err(|error| {
            let help = error.kind.help().map(|help| format!(" ({help})")).unwrap_or_default();
            Failure::usage(format!("`{text}` is no pattern")).because(format!("{error}{help}"))
        })?;
        pattern.check_is_sysctl().map_err(|error| Failure::usage(error.to_string()).because(error.help()))?;
        Ok(Self::Pattern(pattern))
    }

    fn knobs(&self) -> Result<Vec<&'static Knob>, Failure> {
        Ok(match self {
            Self::All => all().iter().collect(),
            Self::Entry(knob) => vec![knob],
            Self::Pattern(pattern) => catalogue::matching(pattern)
                .ok_or_else(|| Failure::usage(format!("the pattern `{pattern}` is too complex")))?,
        })
    }

    fn takes(&self, name: &KnobName) -> bool {
        match self {
            Self::All => true,
            Self::Entry(knob) => find(name.as_bytes()).is_some_and(|about| std::ptr::eq(about, *knob)),
            Self::Pattern(pattern) => pattern.matches(name.as_bytes()),
        }
    }

    /// Whether it is one knob, or one entry.
    fn is_name(&self) -> bool {
        match self {
            Self::All => false,
            Self::Entry(_) => true,
            Self::Pattern(pattern) => pattern.literal().is_some(),
        }
    }
}

/// The failure about an argument that matches nothing.
fn nothing(argument: &str, wanted: &Wanted, machine: &ThisMachine) -> Failure {
    let failure = Failure::usage(format!("no knob is called `{argument}`"));
    let Wanted::Pattern(pattern) = wanted else { return failure };
    let here: Vec<String> = machine.names().iter().map(KnobName::to_string).collect();
    let name = pattern.literal().and_then(|name| KnobName::from_path(name).ok());
    let near = name.and_then(|name| catalogue::did_you_mean(&name, here.iter().map(String::as_str)));
    match near {
        Some(near) => failure.because(format!("did you mean `{near}`?")),
        None => failure.because("the catalogue has none, and neither has this machine"),
    }
}
