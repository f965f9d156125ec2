//! Events: readers, the memory of a policy, and the limit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use knobgate::compiler::{EVENT_KEYS_MAX, EventCounters};
use knobgate::event::{Event, EventOutcome, EventVerdict, RuleRef};
use knobgate::kernel::{AttachmentName, Cgroup, LinkSource, LoadOptions, ScratchCgroup, load, probe_cached};
use knobgate::policy::Errno;
use knobgate::{
    Applied, Attachments, CgroupRef, CompiledPolicy, EventMemory, EventMemoryMaps, EventReader,
    EventReaderError, EventReaders, LinksOf,
};
use knobgate_testing::{scratch, shell};
use libtest_mimic::Failed;

use crate::{compiled, name};

/// The places for readers are the machine's: one test at a time has them.
static PLACES: Mutex<()> = Mutex::new(());

fn places() -> MutexGuard<'static, ()> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

const SMALL: u32 = 4096;

/// Denies writes of one knob, without a limit of events, and of another one with the usual limit.
const POLICY: &str = "policy events\n\
    default write allow\n\
    deny(EROFS) write net.ipv4.ip_default_ttl log(all)\n\
    deny write net.ipv4.tcp_syncookies\n\
    clamp write net.core.somaxconn to 128..256 log(all)\n\
    ignore write net.ipv4.tcp_retries1\n";

/// The errno of the first rule's denials on this kernel.
fn erofs() -> u16 {
    let errno = if probe_cached().set_retval.is_yes() { Errno::EROFS } else { Errno::EPERM };
    errno.number() as u16
}

/// Runs a script in the cgroup, in a network namespace of its own.
fn run(cgroup: &Cgroup, script: &str) -> Result<(), Failed> {
    let script = format!("exec 2>/dev/null; cd /proc/sys/net; {script}; true");
    let status = shell(cgroup, &format!("unshare --net sh -c '{script}'")).status()?;
    if status.success() { Ok(()) } else { Err(format!("{script}: {status}").into()) }
}

/// Writes a value so many times.
fn write(cgroup: &Cgroup, knob: &str, times: u32) -> Result<(), Failed> {
    run(cgroup, &format!("i=0; while [ $i -lt {times} ]; do echo 1 >{knob}; i=$((i+1)); done"))
}

/// A program on a cgroup of its own, which is not attached by name, with its own places for readers.
struct Guarded {
    cgroup: ScratchCgroup,
    memory: EventMemoryMaps,
    readers: Box<dyn Fn() -> Result<EventReaders, Failed>>,
}

impl Guarded {
    fn with(compiled: &CompiledPolicy) -> Result<Self, Failed> {
        let cgroup = scratch();
        // With its own places: others may have programs on this machine.
        let loaded = load(compiled.program(), &LoadOptions::default())?;
        knobgate::kernel::attach_until_removed(&loaded.program, &cgroup)?;
        let memory = EventMemoryMaps::of(&loaded)?.ok_or("it has no memory")?;
        let readers = Box::new(move || {
            EventReaders::of(&loaded)?.ok_or_else(|| Failed::from("it has no places for readers"))
        });
        Ok(Self { cgroup, memory, readers })
    }

    fn reader(&self, bytes: u32) -> Result<EventReader, Failed> {
        Ok(EventReader::open(vec![(self.readers)()?], bytes)?)
    }

    /// Those of this cgroup.
    fn events(&self, reader: &mut EventReader) -> Vec<Event> {
        let mut events = Vec::new();
        reader.for_each(|event| events.push(event.expect("a record")));
        events.retain(|event| event.cgroup_id == self.cgroup.id());
        events
    }
}

pub(crate) fn eight_readers_each_get_every_event() -> Result<(), Failed> {
    let _places = places();
    let guarded = Guarded::with(&compiled(POLICY)?)?;
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(guarded.reader(1 << 20)?);
    }
    let ninth = EventReader::open(vec![(guarded.readers)()?], 1 << 20);
    assert!(matches!(ninth, Err(EventReaderError::NoPlace)), "{ninth:?}");
    write(&guarded.cgroup, "ipv4/ip_default_ttl", 100)?;
    let memory = guarded.memory.read()?;
    let counters: Vec<_> = memory.entries.iter().map(|entry| entry.counters).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        let events = guarded.events(reader);
        assert_eq!(
            (events.len(), reader.lost()?),
            (100, 0),
            "reader {number}: {counters:?}, {:?}",
            memory.state
        );
        assert!(events.iter().all(|event| event.outcome() == EventOutcome::Denied(erofs())));
        assert!(events.is_sorted_by_key(|event| event.boot_time));
    }
    // A place that is given up can be taken, and whoever has it gets what comes from then on.
    drop(readers.pop());
    let mut late = guarded.reader(1 << 20)?;
    write(&guarded.cgroup, "ipv4/ip_default_ttl", 3)?;
    assert_eq!(guarded.events(&mut late).len(), 3);
    assert_eq!(guarded.events(&mut readers[0]).len(), 3);
    Ok(())
}

pub(crate) fn a_reader_that_ends_leaves_alone_who_has_its_place_by_now() -> Result<(), Failed> {
    let _places = places();
    let guarded = Guarded::with(&compiled(POLICY)?)?;
    let early = guarded.reader(1 << 20)?;
    early.stop()?;
    let mut late = guarded.reader(1 << 20)?;
    drop(early);
    write(&guarded.cgroup, "ipv4/ip_default_ttl", 3)?;
    assert_eq!((guarded.events(&mut late).len(), late.lost()?), (3, 0));
    Ok(())
}

pub(crate) fn a_slow_reader_loses_events_of_its_own_and_knows_how_many() -> Result<(), Failed> {
    let _places = places();
    let guarded = Guarded::with(&compiled(POLICY)?)?;
    let (mut slow, mut fast) = (guarded.reader(SMALL)?, guarded.reader(1 << 20)?);
    write(&guarded.cgroup, "ipv4/ip_default_ttl", 500)?;
    let read = guarded.events(&mut slow).len() as u64;
    assert!(0 < read && read < 500, "{read}");
    assert_eq!(read + slow.lost()?, 500);
    assert_eq!((guarded.events(&mut fast).len(), fast.lost()?), (500, 0));
    // It gets events again when it has read.
    write(&guarded.cgroup, "ipv4/ip_default_ttl", 2)?;
    assert_eq!(guarded.events(&mut slow).len(), 2);
    Ok(())
}

pub(crate) fn a_limit_is_for_each_rule_and_cgroup_and_everything_is_counted() -> Result<(), Failed> {
    let _places = places();
    let guarded = Guarded::with(&compiled(POLICY)?)?;
    let (loud, quiet) = (guarded.cgroup.create("loud")?, guarded.cgroup.create("quiet")?);
    let mut reader = guarded.reader(1 << 20)?;
    write(&loud, "ipv4/tcp_syncookies", 300)?;
    write(&quiet, "ipv4/tcp_syncookies", 3)?;
    let mut sent: BTreeMap<u64, u64> = BTreeMap::new();
    reader.for_each(|event| {
        let event = event.expect("a record");
        *sent.entry(event.cgroup_id).or_default() += 1;
    });
    let memory = guarded.memory.read()?;
    let counters = |cgroup: &Cgroup| {
        let mut entries = memory.entries.iter().filter(|entry| entry.cgroup_id == cgroup.id());
        entries.next().map(|entry| entry.counters).expect("it is remembered")
    };
    let (of_loud, of_quiet) = (counters(&loud), counters(&quiet));
    assert_eq!(of_loud.sent + of_loud.suppressed, 300);
    assert!(of_loud.suppressed > 0, "{of_loud:?}");
    assert_eq!((of_quiet.sent, of_quiet.suppressed), (3, 0));
    assert_eq!(sent.get(&loud.id()), Some(&of_loud.sent));
    assert_eq!(sent.get(&quiet.id()), Some(&3));
    loud.kill_and_remove()?;
    quiet.kill_and_remove()?;
    Ok(())
}

pub(crate) fn the_memory_has_the_first_and_the_last_event_without_a_reader() -> Result<(), Failed> {
    let guarded = Guarded::with(&compiled(POLICY)?)?;
    run(&guarded.cgroup, "echo 11 >ipv4/ip_default_ttl; echo 9 >core/somaxconn")?;
    // More than the most recent events.
    let noisy = guarded.cgroup.create("noisy")?;
    write(&noisy, "ipv4/ip_default_ttl", 600)?;
    run(&guarded.cgroup, "echo 22 >ipv4/ip_default_ttl")?;
    write(&noisy, "ipv4/ip_default_ttl", 600)?;
    let memory = guarded.memory.read()?;
    assert_eq!((memory.state.not_recorded, memory.left_out), (0, 0));
    let of = |rule: u32| {
        let is_of = |event: &Event| event.rule.rule == RuleRef::Rule(rule);
        let mut entries = memory.entries.iter().filter(|entry| {
            entry.cgroup_id == guarded.cgroup.id() && entry.first.as_ref().is_some_and(is_of)
        });
        entries.next().expect("it is remembered")
    };
    let new = |event: &Option<Event>| {
        let event = event.as_ref().expect("an event");
        String::from_utf8_lossy(&event.new.as_ref().expect("a value").bytes).into_owned()
    };
    let denied = of(0);
    assert_eq!(new(&denied.first), "11\n");
    // Without atomic exchange, places are free again at once.
    let keeps_last = probe_cached().atomic_fetch.is_yes();
    if keeps_last {
        assert_eq!(new(&denied.last), "22\n");
    }
    assert_eq!((denied.counters.sent, denied.counters.suppressed), (2, 0));
    let clamped = of(2);
    let event = clamped.first.as_ref().expect("an event");
    // What was written has room for one digit.
    assert!(matches!(event.verdict, EventVerdict::Deny(Errno::EINVAL | Errno::EPERM)), "{event:#?}");
    assert!(memory.recent.len() >= 128);
    assert!(memory.recent.is_sorted_by_key(|event| event.boot_time));
    noisy.kill_and_remove()?;
    Ok(())
}

pub(crate) fn suppressed_rewrites_take_nothing_from_the_memory() -> Result<(), Failed> {
    let guarded = Guarded::with(&compiled(POLICY)?)?;
    run(&guarded.cgroup, "echo 11 >ipv4/ip_default_ttl; echo 22 >ipv4/ip_default_ttl")?;
    write(&guarded.cgroup, "ipv4/tcp_retries1", 1000)?;
    let memory = guarded.memory.read()?;
    assert_eq!((memory.left_out, memory.state.not_recorded), (0, 0));
    let of = |rule: u32| memory.recent.iter().filter(move |event| event.rule.rule == RuleRef::Rule(rule));
    assert_eq!(of(0).count(), 2, "those that were there stay");
    let entry = memory.entries.last().ok_or("it is remembered")?;
    assert_eq!(entry.counters.sent + entry.counters.suppressed, 1000);
    assert_eq!(of(3).count() as u64, entry.counters.sent);
    Ok(())
}

pub(crate) fn a_replaced_policy_hands_its_memory_over() -> Result<(), Failed> {
    let (cgroup, name) = (scratch(), name("knobgate-test-memory"));
    let attachments = Attachments::create()?;
    let at = [CgroupRef::at(cgroup.path())?];
    let read = || -> Result<EventMemory, Failed> {
        let state = Attachments::open()?.ok_or("no attachments")?.read(&name)?;
        EventMemory::read(&state.maps)?.ok_or_else(|| "it has no memory".into())
    };
    attachments.apply(&name, &attachments.load(&name, &compiled(POLICY)?)?, &at, LinkSource::Hand)?;
    write(&cgroup, "ipv4/ip_default_ttl", 5)?;
    let origin = read()?.state.origin;
    assert_ne!(origin, 0);

    let other = compiled("policy other\ndefault write allow\ndeny write net.ipv4.** log(all)\n")?;
    attachments.apply(&name, &attachments.load(&name, &other)?, &at, LinkSource::Hand)?;
    write(&cgroup, "ipv4/ip_default_ttl", 7)?;
    let memory = read()?;
    assert_eq!(memory.state.origin, origin);
    assert_eq!(memory.cgroups.get(&cgroup.id()).map(std::path::PathBuf::as_path), Some(cgroup.path()));
    let counted: Vec<_> = memory
        .entries
        .iter()
        .map(|entry| {
            let first = entry.first.as_ref().expect("an event");
            (first.policy.clone(), entry.counters.sent)
        })
        .collect();
    assert_eq!(counted, [("events".to_owned(), 5), ("other".to_owned(), 7)]);

    // The same policy again is the same program, whatever its memory holds by now.
    let again = attachments.load(&name, &other)?;
    let state = attachments.read(&name)?;
    let attached = knobgate::kernel::ProgramFd::by_id(state.program.id)?;
    assert!(again.program.is_same_as(&attached)?);
    attachments.detach(&name, &[], LinksOf::Any)?;
    Ok(())
}

/// An attachment, with the cgroups that it is made on.
struct Attached {
    attachments: Attachments,
    name: AttachmentName,
    cgroup: ScratchCgroup,
}

impl Attached {
    fn new(attachment: &str) -> Result<Self, Failed> {
        let attached =
            Self { attachments: Attachments::create()?, name: name(attachment), cgroup: scratch() };
        attached.apply(POLICY, &[])?;
        Ok(attached)
    }

    fn apply(&self, policy: &str, more: &[&Cgroup]) -> Result<Applied, Failed> {
        let cgroups = more.iter().copied().chain([&*self.cgroup]);
        let cgroups = cgroups.map(|cgroup| CgroupRef::at(cgroup.path())).collect::<Result<Vec<_>, _>>()?;
        let loaded = self.attachments.load(&self.name, &compiled(policy)?)?;
        Ok(self.attachments.apply(&self.name, &loaded, &cgroups, LinkSource::Hand)?)
    }

    /// Makes so many cgroups, each of which has one event.
    fn one_event_in_each_of(&self, count: u32) -> Result<Vec<Cgroup>, Failed> {
        (0..count)
            .map(|number| {
                let cgroup = self.cgroup.create(format!("c{number}"))?;
                run(&cgroup, "echo 11 >ipv4/ip_default_ttl")?;
                Ok(cgroup)
            })
            .collect()
    }

    fn memory(&self) -> Result<EventMemory, Failed> {
        let state = self.attachments.read(&self.name)?;
        let memory = EventMemory::read(&state.maps)?.ok_or("it has no memory")?;
        assert_eq!((memory.state.not_recorded, memory.left_out), (0, 0));
        Ok(memory)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Err(error) = self.attachments.detach(&self.name, &[], LinksOf::Any) {
            eprintln!("cannot detach {}: {error}", self.name);
        }
    }
}

/// What a memory has counted: pairs of a rule and a cgroup, those that found no room, and those that had to make room.
fn counted(memory: &EventMemory) -> (u64, u64, u64) {
    let total = |counters: &EventCounters| counters.sent + counters.suppressed;
    (
        memory.entries.iter().map(|entry| total(&entry.counters)).sum(),
        memory.others.iter().map(total).sum(),
        memory.past.iter().map(|past| total(&past.counters)).sum(),
    )
}

pub(crate) fn removed_cgroups_make_room_for_others() -> Result<(), Failed> {
    const EACH: u32 = EVENT_KEYS_MAX / 2;
    let attached = Attached::new("knobgate-test-room")?;
    let stays = attached.cgroup.create("stays")?;
    run(&stays, "echo 11 >ipv4/ip_default_ttl")?;
    // One that found no room would be among the others.
    for round in 1..=4 {
        for cgroup in attached.one_event_in_each_of(EACH)? {
            cgroup.remove()?;
        }
        let more = attached.cgroup.create(format!("more{round}"))?;
        assert!(matches!(attached.apply(POLICY, &[&more])?, Applied::Shared { .. }));
        let memory = attached.memory()?;
        let (entries, others, past) = counted(&memory);
        assert_eq!((entries + past, others), (u64::from(1 + round * EACH), 0), "round {round}");
        assert_eq!(memory.entries.len() as u32, EVENT_KEYS_MAX / 2, "round {round}");
        assert!(memory.entries.iter().all(|entry| entry.first.is_some() && entry.counters.sent == 1));
        let [of_rule] = &memory.past[..] else { panic!("{:?}", memory.past) };
        assert_eq!(
            (&*of_rule.policy, &*of_rule.rule),
            ("events", &b"deny(EROFS) write net.ipv4.ip_default_ttl log(all)"[..])
        );
        assert!(memory.entries.iter().any(|entry| entry.cgroup_id == stays.id()), "it is still there");
        attached.attachments.detach(&attached.name, &[CgroupRef::at(more.path())?], LinksOf::Any)?;
    }
    Ok(())
}

pub(crate) fn nothing_that_a_full_memory_counts_is_lost() -> Result<(), Failed> {
    const TOO_MANY: u32 = EVENT_KEYS_MAX + 4;
    let attached = Attached::new("knobgate-test-full")?;
    let cgroups = attached.one_event_in_each_of(TOO_MANY)?;
    assert_eq!(counted(&attached.memory()?), (EVENT_KEYS_MAX.into(), 4, 0));
    // A replaced policy hands over what its program has counted; its own cgroups make room when the next one comes.
    let other = "policy other\ndefault write allow\ndeny write net.ipv4.ip_default_ttl\n";
    attached.apply(other, &[])?;
    let memory = attached.memory()?;
    assert_eq!(counted(&memory), (EVENT_KEYS_MAX.into(), 0, 4));
    assert_eq!((&*memory.past[0].policy, memory.past[0].line), ("events", Some(3)));
    attached.apply("policy third\ndefault write allow\n", &[])?;
    let half = u64::from(EVENT_KEYS_MAX / 2);
    assert_eq!(counted(&attached.memory()?), (half, 0, half + 4));
    // Their places are free again.
    run(&cgroups[0], "echo 11 >ipv4/ip_default_ttl")?;
    attached.apply(POLICY, &[])?;
    write(&cgroups[0], "ipv4/ip_default_ttl", 300)?;
    let (entries, others, past) = counted(&attached.memory()?);
    assert_eq!((entries + past, others), (u64::from(TOO_MANY) + 300, 0));
    Ok(())
}

pub(crate) fn an_observer_above_does_not_show_what_was_denied_below_as_allowed() -> Result<(), Failed> {
    let _places = places();
    let above = Guarded::with(&{
        let policy = "policy above\ndefault write allow log(all)\n";
        let policy = knobgate::policy::parse(
            knobgate::policy::Source::new("above.knob", policy),
            &knobgate::policy::CheckOptions::default(),
        )?;
        CompiledPolicy::observer(&policy)?
    })?;
    let below = above.cgroup.create("below")?;
    knobgate::kernel::attach_until_removed(&compiled(POLICY)?.load()?.program, &below)?;
    let mut reader = above.reader(1 << 20)?;
    write(&below, "ipv4/ip_default_ttl", 1)?;
    let mut events = Vec::new();
    reader.for_each(|event| events.push(event.expect("a record")));
    events.retain(|event| event.observer);
    let [event] = &events[..] else { panic!("{events:#?}") };
    assert_eq!(event.verdict, EventVerdict::Allow);
    if probe_cached().set_retval.is_yes() {
        assert_eq!(event.outcome(), EventOutcome::Denied(erofs()), "{event:#?}");
    }
    below.kill_and_remove()?;
    Ok(())
}

/// What decides is beyond what an event has of the value.
pub(crate) fn an_event_of_a_long_value_has_its_start_and_what_was_decided() -> Result<(), Failed> {
    let _places = places();
    let policy = "policy long\n\
        default write allow\n\
        deny(EROFS) write net.ipv4.ip_local_reserved_ports if new contains \",9999\" log(all)\n\
        set write net.ipv4.ip_local_reserved_ports to \"10001\" if new contains \",8888\" log(all)\n";
    let guarded = Guarded::with(&compiled(policy)?)?;
    let mut reader = guarded.reader(1 << 20)?;
    let ports: Vec<String> = (10001..10201).step_by(2).map(|port: u32| port.to_string()).collect();
    let ports = ports.join(",");
    run(
        &guarded.cgroup,
        &format!("for last in 9999 8888; do echo {ports},$last >ipv4/ip_local_reserved_ports; done"),
    )?;
    let events = guarded.events(&mut reader);
    let [denied, set] = &events[..] else { panic!("{events:#?}") };
    let is_denial = |event: &Event| matches!(event.verdict, EventVerdict::Deny(Errno::EINVAL | Errno::EPERM));
    if !probe_cached().features().long_values() {
        assert!(is_denial(denied) && is_denial(set), "{events:#?}");
    } else {
        assert_eq!(denied.outcome(), EventOutcome::Denied(erofs()), "{denied:#?}");
        match &set.stored {
            Some(stored) => assert!(stored.bytes.starts_with(b"10001\n"), "{set:#?}"),
            None => assert!(!probe_cached().set_new_value.is_yes() && is_denial(set), "{set:#?}"),
        }
    }
    for event in [denied, set] {
        let new = event.new.as_ref().ok_or("a value")?;
        assert_eq!(new.cut_from, Some(ports.len() as u32 + 6), "{new:?}");
        assert!(ports.as_bytes().starts_with(&new.bytes) && new.bytes.len() >= 200, "{new:?}");
    }
    Ok(())
}

pub(crate) fn an_event_has_the_task_and_its_namespaces() -> Result<(), Failed> {
    let _places = places();
    let guarded = Guarded::with(&compiled(POLICY)?)?;
    let mut reader = guarded.reader(1 << 20)?;
    let inner = "ls -L -i /proc/self/ns >/tmp/knobgate-test-namespaces-$$; cp /tmp/knobgate-test-namespaces-$$ \"$0\"; \
                 rm /tmp/knobgate-test-namespaces-$$; echo 1 >/proc/sys/net/ipv4/ip_default_ttl; true";
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("namespaces");
    let script = format!(
        "unshare --net --uts --ipc --pid --mount-proc --fork --user --map-root-user sh -c '{inner}' {}",
        file.display()
    );
    assert!(shell(&guarded.cgroup, &script).status()?.success());
    let events = guarded.events(&mut reader);
    let [event] = &events[..] else { panic!("{events:#?}") };
    let text = std::fs::read_to_string(&file)?;
    let number = |name: &str| {
        let line = text.lines().find(|line| line.trim_end().ends_with(&format!(" {name}")));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok())
    };
    if let Some(namespaces) = event.namespaces {
        let expected =
            [namespaces.net, namespaces.uts, namespaces.ipc, namespaces.user, namespaces.pid, namespaces.mnt];
        assert_eq!(expected, ["net", "uts", "ipc", "user", "pid", "mnt"].map(number), "{text}");
    }
    if let Some(comm) = &event.comm {
        assert_eq!(comm, b"sh");
    }
    assert_eq!(event.pid, event.tid);
    assert_ne!(event.pid, Some(1), "it is the one outside");
    assert_eq!(event.uid, Some(0));
    Ok(())
}
