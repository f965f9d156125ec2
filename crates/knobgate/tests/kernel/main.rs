//! The library on the running kernel, used as in the documentation of the crate.
//!
//! The tests write only in their own network, UTS and IPC namespaces, with processes in their own cgroups.

mod events;
mod integrity;
mod observations;

use std::error::Error;
use std::process::{Command, ExitCode};

use knobgate::compiler::Degradation;
use knobgate::kernel::{
    AttachmentName, Cgroup, LinkSource, Namespaces, probe_cached, with_private_namespaces,
};
use knobgate::policy::{CheckOptions, Source, parse};
use knobgate::{
    Applied, AttachedBy, AttachmentError, Attachments, CgroupRef, CompiledPolicy, KernelLimit, LinksOf,
    OnDeparture, RunError, RunEvent, Supervisor, Survey,
};
use knobgate_hook::Profile;
use knobgate_testing::{Suite, Test, scratch, shell};
use libtest_mimic::Failed;

const TESTS: &[Test] = &[
    ("a_policy_is_attached_read_back_and_detached", attached_read_back_and_detached),
    ("a_policy_is_replaced_on_all_of_its_cgroups_or_on_none", replaced_on_all_or_none),
    ("a_survey_has_the_names_of_attachments", survey_has_names),
    ("what_cannot_be_done_is_an_error_with_its_reason", errors_have_reasons),
    ("a_command_runs_under_a_policy_and_nothing_is_left", command_under_a_policy),
];

/// These need programs that send events.
const EVENTS: &[Test] = &[
    ("eight_readers_each_get_every_event", events::eight_readers_each_get_every_event),
    (
        "a_reader_that_ends_leaves_alone_who_has_its_place_by_now",
        events::a_reader_that_ends_leaves_alone_who_has_its_place_by_now,
    ),
    (
        "a_slow_reader_loses_events_of_its_own_and_knows_how_many",
        events::a_slow_reader_loses_events_of_its_own_and_knows_how_many,
    ),
    (
        "a_limit_is_for_each_rule_and_cgroup_and_everything_is_counted",
        events::a_limit_is_for_each_rule_and_cgroup_and_everything_is_counted,
    ),
    (
        "the_memory_has_the_first_and_the_last_event_without_a_reader",
        events::the_memory_has_the_first_and_the_last_event_without_a_reader,
    ),
    (
        "suppressed_rewrites_take_nothing_from_the_memory",
        events::suppressed_rewrites_take_nothing_from_the_memory,
    ),
    ("a_replaced_policy_hands_its_memory_over", events::a_replaced_policy_hands_its_memory_over),
    ("removed_cgroups_make_room_for_others", events::removed_cgroups_make_room_for_others),
    ("nothing_that_a_full_memory_counts_is_lost", events::nothing_that_a_full_memory_counts_is_lost),
    (
        "an_observer_above_does_not_show_what_was_denied_below_as_allowed",
        events::an_observer_above_does_not_show_what_was_denied_below_as_allowed,
    ),
    (
        "an_event_of_a_long_value_has_its_start_and_what_was_decided",
        events::an_event_of_a_long_value_has_its_start_and_what_was_decided,
    ),
    ("an_event_has_the_task_and_its_namespaces", events::an_event_has_the_task_and_its_namespaces),
];

const DENY: &str = "policy deny\ndefault write allow\ndeny write kernel.domainname\n";
const ALLOW: &str = "policy allow\ndefault write allow\n";

/// The argument that makes this binary run a command under a policy. This needs a process with a single thread, because
/// signals are blocked per thread.
const SUPERVISOR: &str = "--be-the-supervisor";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [argument, parent, script] = &arguments[..]
        && argument == SUPERVISOR
    {
        return supervise(parent, script).unwrap_or_else(|error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        });
    }
    match knobgate_testing::in_private_mount_namespace() {
        Some(ended) => ended,
        None => Suite::new(&[TESTS, integrity::TESTS].concat())
            .requiring(no_events, EVENTS)
            .requiring(observations::threads_of_events, observations::TESTS)
            .requiring(observations::io_uring, observations::IO_URING)
            .run(),
    }
}

fn no_events(_: &Profile) -> Option<String> {
    let lacks = probe_cached().event_features().is_none();
    lacks.then(|| "programs cannot send events".to_owned())
}

fn compiled(text: &str) -> Result<CompiledPolicy, Failed> {
    let policy = parse(Source::new("test.knob", text), &CheckOptions::default())?;
    Ok(CompiledPolicy::compile(&policy)?)
}

fn name(name: &str) -> AttachmentName {
    name.parse().expect("a name")
}

/// Whether a process in the cgroup can write `kernel.domainname`.
fn can_write(cgroup: &Cgroup) -> Result<bool, Failed> {
    Ok(shell(cgroup, "echo example 2>/dev/null >/proc/sys/kernel/domainname").status()?.success())
}

fn attached_read_back_and_detached() -> Result<(), Failed> {
    let (cgroup, name) = (scratch(), name("knobgate-test-example"));
    let compiled = compiled(DENY)?;
    // Before 5.18 every denial is EPERM, that of a name that is too long as well.
    let limits = compiled.limits().iter();
    let others: Vec<_> =
        limits.filter(|limit| !matches!(limit.degradation(), Degradation::ErrnoIsEperm(_))).collect();
    assert_eq!(others, Vec::<&KernelLimit>::new());

    let attachments = Attachments::create()?;
    let at = CgroupRef::at(cgroup.path())?;
    let applied = attachments.apply(&name, &compiled.load()?, &[at.clone(), at], LinkSource::Hand)?;
    assert_eq!(applied, Applied::Attached);
    assert!(!can_write(&cgroup)?);

    // As another process would.
    let state = Attachments::open()?.expect("attachments").read(&name)?;
    let [attached] = &state.cgroups[..] else { panic!("{state:?}") };
    assert_eq!((attached.id, attached.path.as_deref()), (cgroup.id(), Some(cgroup.path())));
    let policy = state.policy.expect("a policy");
    assert_eq!((policy.text(), policy.name()), (DENY, Some("deny")));
    let rule = &policy.rule_counters()[0];
    assert_eq!((rule.line, &*rule.text), (Some(3), "deny write kernel.domainname"));
    assert_eq!((rule.decided, rule.eval_errors), (1, 0));

    let detached = attachments.detach(&name, &[], LinksOf::Any)?;
    assert_eq!((detached.from, detached.remaining), (vec![cgroup.id()], 0));
    assert!(can_write(&cgroup)?);
    Ok(())
}

fn replaced_on_all_or_none() -> Result<(), Failed> {
    let (one, other, removed) = (scratch(), scratch(), scratch());
    let (attachments, name) = (Attachments::create()?, name("knobgate-test-replaced"));
    let (first, second) = (CgroupRef::from(&*one), CgroupRef::from(&*other));
    attachments.apply(&name, &compiled(DENY)?.load()?, &[first.clone(), second.clone()], LinkSource::Hand)?;

    let gone = CgroupRef::from(&*removed);
    removed.finish()?;
    let allow = compiled(ALLOW)?.load()?;
    let applied = attachments.apply(&name, &allow, &[first.clone(), second.clone(), gone], LinkSource::Hand);
    assert!(
        matches!(applied, Err(AttachmentError::Cgroup { others: true, rollback: None, .. })),
        "{applied:?}"
    );
    assert!(!can_write(&one)? && !can_write(&other)?);

    let applied = attachments.apply(&name, &allow, &[first.clone(), second], LinkSource::Hand)?;
    let Applied::Replaced { old, on, added } = applied else { panic!("{applied:?}") };
    assert_eq!((old.len(), on.len(), added.len()), (1, 2, 0));
    assert!(can_write(&one)? && can_write(&other)?);

    assert_eq!(attachments.detach(&name, &[first], LinksOf::Any)?.remaining, 1);
    assert_eq!(attachments.detach(&name, &[], LinksOf::Any)?.remaining, 0);
    Ok(())
}

fn survey_has_names() -> Result<(), Failed> {
    let (cgroup, name) = (scratch(), name("knobgate-test-survey"));
    let attachments = Attachments::create()?;
    attachments.apply(&name, &compiled(DENY)?.load()?, &[CgroupRef::from(&*cgroup)], LinkSource::Hand)?;
    let survey = Survey::take()?;
    let order = survey.cgroups.iter().find(|order| order.cgroup == cgroup.path()).expect("the cgroup");
    let is_ours = |by: &Option<AttachedBy>| matches!(by, Some(AttachedBy::Link { attachment: Some(found), .. }) if *found == name);
    assert!(order.programs.iter().any(|program| is_ours(&program.attached_by)), "{order:?}");

    cgroup.finish()?;
    knobgate_testing::eventually("the attachment has no cgroup", || {
        Survey::take().is_ok_and(|survey| survey.dead.contains(&name))
    });
    assert!(attachments.detach(&name, &[], LinksOf::Any)?.from.is_empty());
    Ok(())
}

fn errors_have_reasons() -> Result<(), Failed> {
    let (cgroup, other) = (scratch(), scratch());
    let (attachments, name) = (Attachments::create()?, name("knobgate-test-errors"));
    let missing = attachments.read(&name);
    assert!(matches!(missing, Err(AttachmentError::NotFound { .. })), "{missing:?}");

    let nowhere = attachments.apply(&name, &compiled(DENY)?.load()?, &[], LinkSource::Hand);
    assert!(matches!(nowhere, Err(AttachmentError::NoCgroups { .. })), "{nowhere:?}");

    attachments.apply(&name, &compiled(DENY)?.load()?, &[CgroupRef::from(&*cgroup)], LinkSource::Hand)?;
    let elsewhere = CgroupRef::from(&*other);
    let applied = attachments.apply(
        &name,
        &compiled(ALLOW)?.load()?,
        std::slice::from_ref(&elsewhere),
        LinkSource::Hand,
    );
    assert!(matches!(applied, Err(AttachmentError::OnOtherCgroups { .. })), "{applied:?}");
    let detached = attachments.detach(&name, &[elsewhere], LinksOf::Any);
    assert!(matches!(detached, Err(AttachmentError::NotOnCgroup { .. })), "{detached:?}");
    attachments.detach(&name, &[], LinksOf::Any)?;

    other.kill_and_remove()?;
    let gone = CgroupRef::from(&*other);
    let error = attachments
        .apply(&name, &compiled(DENY)?.load()?, &[gone], LinkSource::Hand)
        .expect_err("no such cgroup");
    assert_eq!(error.to_string(), format!("cannot make the attachment \"{name}\""));
    let reason = error.source().expect("a reason").to_string();
    assert!(reason.starts_with("there is no cgroup "), "{reason}");
    Ok(())
}

fn command_under_a_policy() -> Result<(), Failed> {
    let parent = scratch();
    let run = |script: &str| -> Result<Option<i32>, Failed> {
        let mut supervisor = Command::new(std::env::current_exe()?);
        supervisor.arg(SUPERVISOR).arg(parent.path()).arg(script);
        let namespaces = Namespaces { net: true, uts: true, ipc: true, ..Namespaces::default() };
        with_private_namespaces(&mut supervisor, namespaces);
        Ok(supervisor.status()?.code())
    };
    assert_eq!(run("echo example 2>/dev/null >/proc/sys/kernel/domainname && exit 1; exit 42")?, Some(42));
    assert_eq!(run("kill -TERM $$")?, Some(128 + 15));
    assert!(parent.descendants()?.is_empty());
    Ok(())
}

/// Runs a shell's script, and ends with its exit status as a shell does.
fn supervise(parent: &str, script: &str) -> Result<ExitCode, Box<dyn Error>> {
    use std::os::unix::process::ExitStatusExt;
    let parent = Cgroup::open(parent)?;
    let policy = parse(Source::new("test.knob", DENY), &CheckOptions::default())?;
    let compiled = CompiledPolicy::compile(&policy)?;
    let supervisor = Supervisor::new()?;

    let mut missing = Command::new("/nonexistent");
    let started = supervisor.run(&mut missing, compiled.load()?, &parent, OnDeparture::Report, &mut |_| {});
    assert!(matches!(started, Err(RunError::Start(_))), "{started:?}");

    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let mut is_ready = false;
    let outcome =
        supervisor.run(&mut command, compiled.load()?, &parent, OnDeparture::Report, &mut |event| {
            is_ready |= matches!(event, RunEvent::Ready);
        })?;
    assert!(is_ready && outcome.unsupervised.is_none() && outcome.not_removed.is_none(), "{outcome:?}");
    let status = outcome.status.code().or(outcome.status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(u8::try_from(status.unwrap_or(255))?))
}
