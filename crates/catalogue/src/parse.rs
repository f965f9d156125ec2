//! The data files, read into entries.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use crate::handler::{Handler, Kind};
use crate::index::Index;
use crate::{Kernels, Knob, Mode, Normalisation, OneWay, PLACEHOLDERS, Scope, Variant, Width};

/// The entries, and where to find them.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) knobs: Vec<Knob>,
    pub(crate) index: Index,
}

/// A line that cannot be read.
#[derive(Debug)]
pub(crate) struct Error {
    file: &'static str,
    line: usize,
    what: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

static HANDLERS: LazyLock<HashMap<&'static str, Handler>> = LazyLock::new(|| {
    handlers(include_str!("../data/handlers.tsv")).unwrap_or_else(|error| panic!("{error}"))
});

impl Catalogue {
    /// From the files that are compiled in.
    pub(crate) fn built_in() -> Result<Self, Error> {
        Self::parse(include_str!("../data/tables.tsv"), include_str!("../data/knobs.tsv"), &HANDLERS)
    }

    fn parse(
        tables: &'static str,
        knobs: &'static str,
        handlers: &'static HashMap<&'static str, Handler>,
    ) -> Result<Self, Error> {
        let mut variants: HashMap<&str, Vec<Variant>> = HashMap::new();
        for (line, [pattern, kernels, scope, mode, handler, length, least, greatest]) in
            rows("tables.tsv", tables)?
        {
            let error = |what| Error { file: "tables.tsv", line, what: format!("{pattern}: {what}") };
            let variant =
                variant(kernels, scope, mode, handler, length, [least, greatest], handlers).map_err(error)?;
            add(variants.entry(pattern).or_default(), variant).map_err(error)?;
        }
        let mut catalogue = Self { knobs: Vec::new(), index: Index::default() };
        let (mut lines, mut all_corrections) = (Vec::new(), Vec::new());
        for (line, [pattern, facts, summary]) in rows("knobs.tsv", knobs)? {
            let error = |what| Error { file: "knobs.tsv", line, what: format!("{pattern}: {what}") };
            check_pattern(pattern).map_err(error)?;
            let (described, corrections) = described(facts, summary).map_err(error)?;
            let mut variants = variants.remove(pattern).unwrap_or_default();
            variants.iter_mut().for_each(|variant| corrections.apply(variant));
            all_corrections.push(corrections);
            catalogue.index.insert(pattern, catalogue.knobs.len());
            lines.push(line);
            catalogue.knobs.push(Knob { pattern, variants, ..described });
        }
        let mut nowhere: Vec<_> = variants.into_keys().collect();
        nowhere.sort_unstable();
        if !nowhere.is_empty() {
            let what = format!("knobs.tsv does not say what these do: {}", nowhere.join(", "));
            return Err(Error { file: "knobs.tsv", line: lines.last().map_or(1, |last| last + 1), what });
        }
        if let Err((at, what)) = catalogue.inherit(&all_corrections) {
            return Err(Error { file: "knobs.tsv", line: lines[at], what });
        }
        Ok(catalogue)
    }

    /// An entry that is in no table has what the pattern that matches its name has, and stores values as that does: the kernel has one
    /// table for `net/ipv4/conf/all` and for the directories of interfaces. Its own `corrections` come on top. Fails with the place of
    /// one that no pattern matches, or that says itself how it stores values.
    fn inherit(&mut self, corrections: &[Corrections]) -> Result<(), (usize, String)> {
        let mut without_literals = Index::default();
        for (at, knob) in self.knobs.iter().enumerate().filter(|(_, knob)| !knob.variants.is_empty()) {
            without_literals.insert(knob.pattern, at);
        }
        for (at, corrections) in corrections.iter().enumerate() {
            if self.knobs[at].variants.is_empty() {
                let Some(from) = without_literals.find(self.knobs[at].pattern.as_bytes()) else {
                    return Err((at, format!("tables.tsv has no line for {}", self.knobs[at].pattern)));
                };
                if self.knobs[at].width != Width::default() || self.knobs[at].stores.is_some() {
                    return Err((
                        at,
                        format!("{} stores values as its pattern does", self.knobs[at].pattern),
                    ));
                }
                let Knob { mut variants, width, stores, .. } = self.knobs[from].clone();
                variants.iter_mut().for_each(|variant| corrections.apply(variant));
                self.knobs[at] = Knob { variants, width, stores, ..self.knobs[at].clone() };
            }
        }
        Ok(())
    }
}

/// The lines of a file that are not comments, each with its number.
fn rows<const COLUMNS: usize>(
    file: &'static str,
    text: &'static str,
) -> Result<Vec<(usize, [&'static str; COLUMNS])>, Error> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    let rows = lines.map(|(at, line)| {
        let columns: Vec<_> = line.split('\t').collect();
        let what = |columns: Vec<&str>| format!("{} columns instead of {COLUMNS}", columns.len());
        let columns =
            columns.try_into().map_err(|columns| Error { file, line: at + 1, what: what(columns) })?;
        Ok((at + 1, columns))
    });
    rows.collect()
}

fn handlers(text: &'static str) -> Result<HashMap<&'static str, Handler>, Error> {
    let mut handlers = HashMap::new();
    // The other columns are for `.ci/knobs`.
    for (line, [name, kind, _, _, _]) in rows("handlers.tsv", text)? {
        let error = |what| Error { file: "handlers.tsv", line, what };
        let found = Kind::ALL.into_iter().find(|known| known.name() == kind);
        let kind = found.ok_or_else(|| error(format!("there is no kind {kind:?}")))?;
        if handlers.insert(name, Handler { name, kind }).is_some() {
            return Err(error(format!("{name} is there twice")));
        }
    }
    Ok(handlers)
}

fn variant(
    kernels: &str,
    scope: &str,
    mode: &str,
    handler: &str,
    length: &str,
    bounds: [&str; 2],
    handlers: &'static HashMap<&'static str, Handler>,
) -> Result<Variant, String> {
    let invalid = |what: &str, text: &str| format!("{text:?} is not a valid {what}");
    let optional = |text: &str| (text != "-").then(|| text.parse()).transpose();
    let bound = |text: &str| (text != "-").then(|| text.parse()).transpose();
    let [least, greatest] = bounds;
    let bounds = match (bound(least), bound(greatest)) {
        (Ok(None), Ok(None)) => None,
        (Ok(Some(least)), Ok(Some(greatest))) if least <= greatest => Some((least, greatest)),
        _ => return Err(invalid("pair of bounds", &format!("{least} {greatest}"))),
    };
    let handler = handlers.get(handler).ok_or_else(|| format!("handlers.tsv does not have {handler}"))?;
    let length = optional(length).map_err(|_| invalid("length", length))?;
    Ok(Variant {
        kernels: Kernels::parse(kernels).ok_or_else(|| invalid("set of kernels", kernels))?,
        scope: Scope::from_name(scope).ok_or_else(|| invalid("scope", scope))?,
        mode: mode_of(mode).ok_or_else(|| invalid("mode", mode))?,
        handler: handler.name,
        kind: match handler.kind {
            // Some handlers took an int once, and a single byte on newer kernels.
            Kind::Int if length == Some(1) => Kind::U8,
            kind => kind,
        },
        length,
        bounds,
    })
}

fn mode_of(text: &str) -> Option<Mode> {
    u16::from_str_radix(text, 8).ok().and_then(Mode::new)
}

/// Adds a variant to those of its knob, newest first.
fn add(variants: &mut Vec<Variant>, new: Variant) -> Result<(), String> {
    let clash = variants.iter().find(|old| old.kernels.overlaps(new.kernels) || old.kernels == new.kernels);
    if let Some(old) = clash {
        return Err(format!("{} and {} overlap", old.kernels, new.kernels));
    }
    let at = variants.partition_point(|old| old.kernels.newest() > new.kernels.newest());
    variants.insert(at, new);
    Ok(())
}

/// What `knobs.tsv` says where the table is not the whole truth.
#[derive(Debug, Default)]
struct Corrections {
    scope: Option<Scope>,
    mode: Option<Mode>,
    length_varies: bool,
}

impl Corrections {
    fn apply(&self, variant: &mut Variant) {
        variant.scope = self.scope.unwrap_or(variant.scope);
        variant.mode = self.mode.unwrap_or(variant.mode);
        variant.length = variant.length.filter(|_| !self.length_varies);
    }
}

/// An entry with what `knobs.tsv` says, and nothing else.
fn described(facts: &'static str, summary: &'static str) -> Result<(Knob, Corrections), String> {
    let mut corrections = Corrections::default();
    let mut knob = Knob {
        pattern: "",
        variants: Vec::new(),
        acts: false,
        one_way: None,
        is_secret: false,
        bounds_vary: false,
        alias_of: None,
        reaches: Vec::new(),
        width: Width::default(),
        stores: None,
        summary,
    };
    for fact in facts.split("; ").filter(|&fact| fact != "-") {
        let invalid = || format!("{fact:?} is not a fact");
        match fact.split_once(' ').unwrap_or((fact, "")) {
            ("acts", "") => knob.acts = true,
            ("secret", "") => knob.is_secret = true,
            ("machine-bounds", "") => knob.bounds_vary = true,
            ("up", "") => knob.one_way = Some(OneWay::Up),
            ("down", "") => knob.one_way = Some(OneWay::Down),
            ("final", "") => knob.one_way = Some(OneWay::Final),
            ("machine-length", "") => corrections.length_varies = true,
            ("scope", name) => corrections.scope = Some(Scope::from_name(name).ok_or_else(invalid)?),
            ("mode", bits) => corrections.mode = Some(mode_of(bits).ok_or_else(invalid)?),
            ("same", other) => knob.alias_of = Some(other),
            ("reaches", other) => knob.reaches.push(other),
            ("width", name) => {
                let found = Width::NAMES.into_iter().find(|(known, _)| *known == name);
                knob.width = found.ok_or_else(invalid)?.1;
            }
            ("stores", how) => knob.stores = Some(Normalisation::parse(how).ok_or_else(invalid)?),
            _ => return Err(invalid()),
        }
    }
    Ok((knob, corrections))
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    for component in pattern.split('/') {
        let is_known = || PLACEHOLDERS.iter().any(|(known, _)| *known == component);
        if component.is_empty() || component.contains(['<', '>']) && !is_known() {
            return Err(format!("{component:?} is no component"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_valid() {
        let catalogue = Catalogue::built_in().unwrap_or_else(|error| panic!("{error}"));
        assert!(
            catalogue.knobs.is_sorted_by(|one, other| one.pattern < other.pattern),
            "sorted, and nothing twice"
        );
        let find = |pattern: &str| catalogue.knobs.iter().find(|knob| knob.pattern == pattern);
        for knob in &catalogue.knobs {
            let Knob { pattern, summary, .. } = knob;
            assert!(
                !summary.is_empty() && summary.chars().count() <= 100,
                "{pattern}: one line of at most 100 characters"
            );
            assert!(!summary.ends_with('.') && summary.trim() == *summary, "{pattern}: {summary:?}");
            for other in knob.reaches.iter().copied().chain(knob.alias_of) {
                let other = find(other).unwrap_or_else(|| panic!("{pattern}: no knob is called {other}"));
                assert!(other.pattern != knob.pattern, "{pattern} reaches itself");
                assert!(other.alias_of.is_none(), "{pattern}: {} is an alias, too", other.pattern);
            }
            assert_eq!(
                catalogue.index.find(pattern.as_bytes()).map(|at| catalogue.knobs[at].pattern),
                Some(*pattern)
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let tables = "a\t5.10\thost\t0644\tproc_dointvec\t4\t-\t-\n";
        let cases = [
            ("a\t5.10\thost\n", "a\t-\tx\n", "tables.tsv:1: 3 columns instead of 8"),
            (
                "a\t4.0\thost\t0644\tproc_dointvec\t4\t-\t-\n",
                "a\t-\tx\n",
                "\"4.0\" is not a valid set of kernels",
            ),
            ("a\t5.10\tpod\t0644\tproc_dointvec\t4\t-\t-\n", "a\t-\tx\n", "\"pod\" is not a valid scope"),
            ("a\t5.10\thost\t0755\tproc_dointvec\t4\t-\t-\n", "a\t-\tx\n", "\"0755\" is not a valid mode"),
            ("a\t5.10\thost\t0644\tproc_x\t4\t-\t-\n", "a\t-\tx\n", "handlers.tsv does not have proc_x"),
            ("a\t5.10\thost\t0644\tproc_dointvec\tx\t-\t-\n", "a\t-\tx\n", "\"x\" is not a valid length"),
            (
                "a\t5.10\thost\t0644\tproc_dointvec\t4\t2\t1\n",
                "a\t-\tx\n",
                "\"2 1\" is not a valid pair of bounds",
            ),
            (
                "a\t5.10\thost\t0644\tproc_dointvec\t4\t2\t-\n",
                "a\t-\tx\n",
                "\"2 -\" is not a valid pair of bounds",
            ),
            (
                "a\t5.10-6.1\thost\t0644\tproc_dointvec\t4\t-\t-\na\t6.1\thost\t0444\tproc_dointvec\t4\t-\t-\n",
                "a\t-\tx\n",
                "tables.tsv:2: a: 5.10 to 6.1 and 6.1 overlap",
            ),
            (tables, "a\t-\n", "knobs.tsv:1: 2 columns instead of 3"),
            (tables, "a\tsideways\tx\n", "knobs.tsv:1: a: \"sideways\" is not a fact"),
            (tables, "a\tstores own\tx\n", "\"stores own\" is not a fact"),
            (tables, "a\twidth 64\tx\n", "\"width 64\" is not a fact"),
            (tables, "a\t-\tx\nb\t-\tx\n", "tables.tsv has no line for b"),
            (
                "net/<interface>/a\t5.10\thost\t0644\tproc_dointvec\t4\t-\t-\n",
                "net/<interface>/a\t-\tx\nnet/all/a\tstores text\tx\n",
                "net/all/a stores values as its pattern does",
            ),
            (tables, "# nothing\n", "knobs.tsv does not say what these do: a"),
            (tables, "a\t-\tx\n<what>/b\t-\tx\n", "\"<what>\" is no component"),
        ];
        for (tables, knobs, expected) in cases {
            let error = Catalogue::parse(tables, knobs, &HANDLERS).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
