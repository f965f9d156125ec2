//! Property tests: what is written is read as the same, and no input makes the reader panic.

use std::time::{Duration, SystemTime};

use knobgate_policy::filter::Filter;
use knobgate_policy::{AccessKind, Errno, Mode, Source};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::{StreamReader, json_schema, to_json};
use crate::event::{Event, EventRule, EventText, EventVerdict, Namespaces, RuleRef, Totals};
use crate::stream::{Lost, StreamContent, StreamContext, StreamEvent, StreamItem, Suppressed};
use crate::terminal::is_interpreted;
use crate::workload::StreamWorkload;

/// Bytes: anything, often text, and often what a terminal interprets.
fn bytes() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..20),
        "[a-z0-9 \\n\"\\\\]{0,20}".prop_map(String::into_bytes),
        string().prop_map(String::into_bytes),
    ]
    .boxed()
}

fn string() -> BoxedStrategy<String> {
    prop_oneof![".{0,8}", "[\u{1b}\u{7f}\u{9b}\u{202e}\u{2066}\u{e0041}a-c\"\\\\\0]{0,8}"].boxed()
}

fn text() -> BoxedStrategy<EventText> {
    (bytes(), of(any::<u32>())).prop_map(|(bytes, cut_from)| EventText { bytes, cut_from }).boxed()
}

/// Paths of knobs, good and bad ones.
fn knob() -> BoxedStrategy<EventText> {
    let name = "([a-z0-9._*?\\\\ -]{1,6}/){0,3}[a-z0-9._{}\\[\\]é\u{202e}\n-]{1,8}"
        .prop_map(|path| EventText { bytes: path.into_bytes(), cut_from: None });
    let keyword = select(vec!["if", "read", "write", "log", "a.b", "."])
        .prop_map(|path| EventText { bytes: path.into(), cut_from: None });
    prop_oneof![name, keyword, text()].boxed()
}

fn kind() -> impl Strategy<Value = AccessKind> {
    select(AccessKind::ALL.to_vec())
}

fn rule() -> BoxedStrategy<EventRule> {
    let which = prop_oneof![any::<u32>().prop_map(RuleRef::Rule), kind().prop_map(RuleRef::Default)];
    (which, of(any::<u32>()), text(), any::<bool>())
        .prop_map(|(rule, line, text, eval_error)| EventRule { rule, line, text, eval_error })
        .boxed()
}

fn verdict() -> impl Strategy<Value = EventVerdict> {
    let deny = select(Errno::ALL.to_vec()).prop_map(EventVerdict::Deny);
    prop_oneof![Just(EventVerdict::Allow), deny, Just(EventVerdict::Rewrite)]
}

fn event() -> BoxedStrategy<Event> {
    let ids = (of(any::<u32>()), of(any::<u32>()), of(any::<u32>()), of(any::<u32>()));
    let task = (ids, of(bytes()), of(any::<[Option<u32>; 6]>()));
    let access = (knob(), kind(), any::<u32>(), any::<bool>(), of(text()), of(text()), of(text()));
    let decision = (verdict(), select(vec![Mode::Enforce, Mode::Audit]), of(any::<u16>()), string(), rule());
    let rest = (any::<(u64, u64, [bool; 3], u64)>(), any::<(u64, u64)>());
    (task, access, decision, rest)
        .prop_map(|(task, access, decision, rest)| {
            let ((pid, tid, uid, gid), comm, namespaces) = task;
            let (knob, kind, position, secret, old, new, stored) = access;
            let (verdict, mode, denied_before, policy, rule) = decision;
            let ((boot_time, cgroup_id, flags, origin), (sent, suppressed)) = rest;
            let [observer, outcome_unknown, declares_widths] = flags;
            let namespaces = namespaces.map(|[net, uts, ipc, user, pid, mnt]| Namespaces {
                net,
                uts,
                ipc,
                user,
                pid,
                mnt,
            });
            let totals = Totals { sent, suppressed };
            Event {
                boot_time,
                cgroup_id,
                pid,
                tid,
                uid,
                gid,
                comm,
                namespaces,
                knob,
                kind,
                position,
                secret,
                old,
                new,
                stored,
                verdict,
                mode,
                denied_before,
                policy,
                rule,
                observer,
                outcome_unknown,
                declares_widths,
                origin,
                totals,
            }
        })
        .boxed()
}

fn workload() -> BoxedStrategy<StreamWorkload> {
    level()
        .prop_recursive(3, 4, 1, |inner| {
            (level(), inner)
                .prop_map(|(level, inner)| StreamWorkload { inner: Some(Box::new(inner)), ..level })
        })
        .boxed()
}

fn level() -> BoxedStrategy<StreamWorkload> {
    let name = || of(string());
    let container = (name(), any::<bool>(), name(), name(), name(), name(), name());
    let rest = (name(), name(), name(), name(), name(), of(any::<u32>()));
    (container, rest)
        .prop_map(|(container, (image, project, service, unit, slice, user))| {
            let (engine, monitor, container, container_id, pod, pod_id, namespace) = container;
            StreamWorkload {
                engine,
                monitor,
                container,
                container_id,
                pod,
                pod_id,
                namespace,
                image,
                project,
                service,
                unit,
                slice,
                user,
                inner: None,
            }
        })
        .boxed()
}

fn content() -> BoxedStrategy<(StreamContext, StreamContent)> {
    let context = || {
        (of(string()), of(bytes()), of(workload())).prop_map(|(attachment, cgroup_path, workload)| {
            StreamContext { attachment, cgroup_path, workload }
        })
    };
    let event = (context(), event(), of(string()), of(bytes())).prop_map(
        |(context, event, eval_error, replacement)| {
            (context, StreamContent::Event(Box::new(StreamEvent { event, eval_error, replacement })))
        },
    );
    let ids = (of(any::<u64>()), of(any::<u64>()));
    let suppressed = (context(), any::<(u64, u64)>(), of(string()), of(rule()), ids).prop_map(
        |(mut context, (boot_time, count), policy, rule, (cgroup_id, origin))| {
            context.cgroup_path = context.cgroup_path.filter(|_| cgroup_id.is_some());
            let suppressed = Suppressed { boot_time, policy, rule, cgroup_id, origin, count };
            (context, StreamContent::Suppressed(Box::new(suppressed)))
        },
    );
    let lost = any::<(u64, u64)>().prop_map(|(boot_time, count)| {
        (StreamContext::default(), StreamContent::Lost(Lost { boot_time, count }))
    });
    prop_oneof![8 => event, 2 => suppressed, 1 => lost].boxed()
}

fn item() -> BoxedStrategy<StreamItem> {
    let seconds = 0..250_000_000_000u64;
    let time = (seconds, 0..1_000_000_000u32)
        .prop_map(|(seconds, nanoseconds)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds));
    (any::<u64>(), of(time), of(string()), content())
        .prop_map(|(sequence, time, boot_id, (context, content))| StreamItem {
            sequence,
            time,
            boot_id,
            context,
            content,
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_item_is_read_as_it_was_written(item in item()) {
        let line = to_json(&item);
        prop_assert!(!line.contains(is_interpreted), "{line:?}");
        prop_assert_eq!(StreamReader::new(line.as_bytes()).next().unwrap().unwrap(), item);
    }

    #[test]
    fn no_line_makes_the_reader_panic(item in item(), at in any::<prop::sample::Index>(), with in bytes()) {
        let mut line = to_json(&item).into_bytes();
        let at = at.index(line.len());
        let end = (at + with.len() / 2).min(line.len());
        line.splice(at..end, with);
        for item in StreamReader::new(&line[..]).flatten() {
            to_json(&item);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        StreamReader::new(&bytes[..]).for_each(drop);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_line_obeys_the_schema(item in item()) {
        thread_local!(static VALIDATOR: jsonschema::Validator = jsonschema::validator_for(&json_schema()).unwrap());
        let value = serde_json::from_str(&to_json(&item)).unwrap();
        VALIDATOR.with(|validator| {
            let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            prop_assert!(errors.is_empty(), "{value}: {errors:?}");
            Ok(())
        })?;
    }

    #[test]
    fn no_item_makes_a_filter_panic(item in item()) {
        let text = "new != 0 and (knob matches net.** or comm contains \"a\" or stored[0] > 1 or pod == \"\" or netns == 3)";
        Filter::parse(Source::new("filter", text)).unwrap().matches(&item);
    }
}

#[test]
fn times_outside_of_rfc_3339_are_left_out() {
    let lost = StreamContent::Lost(Lost { boot_time: 1, count: 1 });
    let year = Duration::from_secs(365 * 86_400 + 20_952);
    for time in [SystemTime::UNIX_EPOCH + 8100 * year, SystemTime::UNIX_EPOCH - 2000 * year] {
        let context = StreamContext::default();
        let item =
            StreamItem { sequence: 1, time: Some(time), boot_id: None, context, content: lost.clone() };
        assert!(!to_json(&item).contains(r#""time""#), "{}", to_json(&item));
    }
}
