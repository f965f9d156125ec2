//! The data of the page, as JSON in an element that is no script.

use std::collections::BTreeMap;
use std::io::{self, Write};

use foldhash::HashMap;
use knobgate_events::words::{self, Length};
use knobgate_events::{EventText, terminal};
use knobgate_policy::{AccessKind, parse_numbers};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use super::ranked;
use crate::class::{Class, Example};
use crate::counts::{OUTCOMES, index, name};
use crate::history::Change;
use crate::moment::milliseconds;
use crate::report::Report;

/// The most characters of a value on the page.
const VALUE_MAX: usize = 120;

/// The whole of it. Texts are indices of `strings`; moments are milliseconds since 1970.
#[derive(Serialize)]
struct Document {
    /// The names of outcomes, in the order of all counts.
    outcomes: [&'static str; OUTCOMES.len()],
    timeline: TimelineData,
    matrix: MatrixData,
    values: Vec<ValuesData>,
    classes: Vec<ClassData>,
    /// The strings that are numbers, in decimal: JavaScript rounds large ones.
    numbers: BTreeMap<u32, String>,
    strings: Vec<String>,
}

#[derive(Serialize)]
struct TimelineData {
    /// When the first bucket begins, in widths since 1970.
    first: i64,
    width: i64,
    /// How many buckets after the first one, events by outcome, suppressed and lost ones.
    buckets: Vec<(i64, [u64; OUTCOMES.len()], u64, u64)>,
}

#[derive(Serialize)]
struct MatrixData {
    knobs: Vec<u32>,
    workloads: Vec<u32>,
    /// Row, column and events by outcome. The number after the last one is that of the others.
    cells: Vec<(usize, usize, [u64; OUTCOMES.len()])>,
}

#[derive(Serialize)]
struct ValuesData {
    knob: u32,
    /// How many of the changes are the first ones; `left_out` events come next.
    first: usize,
    left_out: u64,
    changes: Vec<ChangeData>,
}

#[derive(Serialize)]
struct ChangeData {
    time: Option<i64>,
    workload: Option<u32>,
    outcome: usize,
    write: bool,
    old: Option<u32>,
    new: Option<u32>,
    now: Option<u32>,
    times: u64,
}

#[derive(Serialize)]
struct ClassData {
    outcome: usize,
    errno: Option<u32>,
    write: bool,
    knob: u32,
    workload: u32,
    rule: Option<u32>,
    events: u64,
    first: ExampleData,
    last: Option<ExampleData>,
}

#[derive(Serialize)]
struct ExampleData {
    time: Option<i64>,
    /// The access, the task, and what else there is to say.
    lines: Vec<u32>,
}

/// Writes the data, with everything escaped that ends a script or begins a comment there.
pub(super) fn write(report: &Report, output: &mut impl Write) -> io::Result<()> {
    let document = document(report);
    document.serialize(&mut serde_json::Serializer::with_formatter(output, InScript)).map_err(Into::into)
}

/// JSON that no tokenizer of HTML takes for anything else.
struct InScript;

impl Formatter for InScript {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let is_escaped = |c: char| matches!(c, '<' | '>' | '&') || terminal::is_interpreted(c);
        let mut rest = fragment;
        while let Some(at) = rest.find(is_escaped) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let c = rest[at..].chars().next().unwrap_or_default();
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

fn document(report: &Report) -> Document {
    let mut strings = Strings::default();
    let (knobs, workloads) = (ranked::knobs(report), ranked::workloads(report));
    let cells = ranked::cells(report, &knobs, &workloads);
    let first = report.timeline.buckets.first_key_value().map_or(0, |(&first, _)| first);
    let buckets = report.timeline.buckets.iter();
    let workload = |strings: &mut Strings, workload: usize| strings.add(&report.workloads[workload].label);
    let knob = |strings: &mut Strings, knob: usize| strings.add(&words::knob(&report.knobs[knob].path));
    Document {
        outcomes: OUTCOMES.map(name),
        timeline: TimelineData {
            first,
            width: report.timeline.width,
            buckets: buckets
                .map(|(number, bucket)| {
                    (number - first, bucket.events.as_array(), bucket.suppressed, bucket.lost)
                })
                .collect(),
        },
        matrix: MatrixData {
            knobs: knobs.shown.iter().map(|&number| knob(&mut strings, number)).collect(),
            workloads: workloads.shown.iter().map(|&number| workload(&mut strings, number)).collect(),
            cells: cells.into_iter().map(|(row, column, counts)| (row, column, counts.as_array())).collect(),
        },
        values: (ranked::with_values(report).shown.iter())
            .map(|&number| {
                let history = &report.knobs[number].history;
                ValuesData {
                    knob: knob(&mut strings, number),
                    first: history.first.len(),
                    left_out: history.left_out,
                    changes: history
                        .changes()
                        .map(|change| change_data(change, report, &mut strings))
                        .collect(),
                }
            })
            .collect(),
        classes: (ranked::classes(report).shown.iter())
            .map(|&number| {
                let class = &report.classes[number];
                ClassData {
                    outcome: index(class.key.outcome),
                    errno: class.key.errno.map(|errno| strings.add(&words::errno(errno))),
                    write: class.key.kind == AccessKind::Write,
                    knob: knob(&mut strings, class.key.knob),
                    workload: workload(&mut strings, class.key.workload),
                    rule: class.key.rule.map(|rule| strings.add(&report.rules[rule].place)),
                    events: class.events,
                    first: example_data(&class.first, class, &mut strings),
                    last: class.last.as_ref().map(|last| example_data(last, class, &mut strings)),
                }
            })
            .collect(),
        numbers: strings.numbers,
        strings: strings.all,
    }
}

fn change_data(change: &Change, report: &Report, strings: &mut Strings) -> ChangeData {
    let mut value = |value: &Option<EventText>| value.as_ref().map(|value| strings.add_value(value));
    let (old, new, now) = (value(&change.old), value(&change.new), value(&change.now));
    ChangeData {
        time: change.time.map(milliseconds),
        workload: change.workload.map(|workload| strings.add(&report.workloads[workload].label)),
        outcome: index(change.outcome),
        write: change.kind == AccessKind::Write,
        old,
        new,
        now,
        times: change.times,
    }
}

fn example_data(example: &Example, class: &Class, strings: &mut Strings) -> ExampleData {
    let mut lines = Vec::new();
    let value = |value: &EventText| short(&words::value(value, Length::Full));
    let mut access = Vec::new();
    if example.position > 0 {
        access.push(format!("at {}", example.position));
    }
    access.extend(example.secret.then(|| "a secret".to_owned()));
    access.extend(example.new.as_ref().map(value));
    access.extend(example.stored.as_ref().map(|stored| format!("→ {}", value(stored))));
    let was = if class.key.kind == AccessKind::Write { "was " } else { "" };
    access.extend(example.old.as_ref().map(|old| format!("{was}{}", value(old))));
    lines.extend((!access.is_empty()).then(|| access.join(" ")));

    let comm = example.comm.as_deref().map(words::name).unwrap_or_default();
    let pid = example.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
    let uid = example.uid.map(|uid| format!("uid={uid}"));
    let task = format!("{comm}{pid}");
    let task: Vec<String> = [Some(task).filter(|task| !task.is_empty()), uid].into_iter().flatten().collect();
    lines.extend((!task.is_empty()).then(|| task.join(" ")));

    if example.eval_error {
        let reason = example.reason.as_ref().map(|reason| format!(": {reason}"));
        lines.push(format!("the rule cannot be evaluated{}", reason.unwrap_or_default()));
    }
    if let Some(errno) = example.denied_before {
        lines.push(format!("another program had denied it: {}", words::errno(errno)));
    }
    let lines = lines.iter().map(|line| strings.add(line)).collect();
    ExampleData { time: example.time.map(milliseconds), lines }
}

/// The start of a text, if it is long.
fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Strings, each of them once.
#[derive(Default)]
struct Strings {
    all: Vec<String>,
    by_text: HashMap<String, u32>,
    numbers: BTreeMap<u32, String>,
}

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let text = terminal::escape(text);
        if let Some(&index) = self.by_text.get(&*text) {
            return index;
        }
        let index = self.all.len() as u32;
        self.all.push(text.to_string());
        self.by_text.insert(text.into_owned(), index);
        index
    }

    /// Adds a value, and the number that it is, as the kernel reads it.
    fn add_value(&mut self, value: &EventText) -> u32 {
        let index = self.add(&short(&words::value(value, Length::Full)));
        let numbers = parse_numbers(&value.bytes).unwrap_or_default();
        if let ([number], None) = (&*numbers, value.cut_from) {
            self.numbers.insert(index, number.get().to_string());
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_a_script_has_no_markup_and_means_the_same() {
        for text in
            ["</script>", "<!--<script>", "&lt;", "\u{2028}\u{2029}\u{202e}\u{9b}\0\n\"\\", "é\u{e0041}"]
        {
            let mut json = Vec::new();
            text.serialize(&mut serde_json::Serializer::with_formatter(&mut json, InScript)).unwrap();
            let json = String::from_utf8(json).unwrap();
            assert!(!json.contains(['<', '>', '&']) && !json.contains(terminal::is_interpreted), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
