//! What an observer sees, and which of it succeeds.

use knobgate::event::{CallResult, UnknownResult};
use knobgate::{Observation, Observed};
use knobgate_bpf::helper_ids;
use knobgate_hook::Profile;
use knobgate_testing::{Test, scratch, shell};
use libtest_mimic::Failed;

pub(crate) const TESTS: &[Test] = &[
    ("an_observer_sees_which_writes_succeed", writes),
    ("an_observer_sees_reads_if_asked", reads),
    ("the_result_of_a_system_call_with_several_accesses_is_unknown", several_accesses),
];

/// What these tests require.
pub(crate) fn threads_of_events(profile: &Profile) -> Option<String> {
    let has_threads = profile.has_helper(helper_ids::GET_CURRENT_PID_TGID);
    (!has_threads).then(|| format!("{profile} does not tell programs on the hook the thread"))
}

/// The accesses of a script: knob, written value, result.
fn observed(script: &str, reads: bool) -> Result<Vec<(String, String, CallResult)>, Failed> {
    let cgroup = scratch();
    let mut observation = Observation::of(&cgroup, reads)?;
    assert!(observation.not_traced().is_none(), "{:?}", observation.not_traced());
    shell(&cgroup, script).status()?;
    let (mut accesses, mut executed) = (Vec::new(), 0);
    let mut consume = |observed| match observed {
        Observed::Access { event, result } => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let new = event.new.map(|new| text(&new.bytes)).unwrap_or_default();
            accesses.push((text(&event.knob.bytes), new, result));
        }
        Observed::Executed { .. } => executed += 1,
        _ => {}
    };
    observation.take(&mut consume);
    let loss = observation.end(&mut consume)?;
    assert_eq!((loss.accesses, loss.results), (0, 0));
    assert!(executed >= 1, "the shell was executed");
    Ok(accesses)
}

fn writes() -> Result<(), Failed> {
    let script =
        "cd /proc/sys/net/ipv4; for ttl in 100 255 256 x; do echo $ttl > ip_default_ttl; done 2>/dev/null";
    let accesses = observed(script, false)?;
    let ttl = |new: &str, result| {
        ("net/ipv4/ip_default_ttl".to_owned(), new.to_owned(), CallResult::Returned(result))
    };
    assert_eq!(accesses, [ttl("100\n", 4), ttl("255\n", 4), ttl("256\n", -22), ttl("x\n", -22)]);
    Ok(())
}

fn reads() -> Result<(), Failed> {
    let accesses = observed("cat /proc/sys/kernel/ostype", true)?;
    let ostype = |result| ("kernel/ostype".to_owned(), String::new(), CallResult::Returned(result));
    let of_ostype: Vec<_> = accesses.into_iter().filter(|(knob, ..)| knob == "kernel/ostype").collect();
    assert_eq!(of_ostype, [ostype(6), ostype(0)]);
    Ok(())
}

fn several_accesses() -> Result<(), Failed> {
    let script = "python3 -c 'import os
source = os.open(\"/proc/sys/kernel/ostype\", os.O_RDONLY)
target = os.open(\"/proc/sys/kernel/domainname\", os.O_WRONLY)
os.sendfile(target, source, None, 6)'";
    let accesses = observed(script, true)?;
    let sent = accesses.iter().filter(|(knob, ..)| knob == "kernel/domainname").collect::<Vec<_>>();
    let unknown = CallResult::Unknown(UnknownResult::SeveralAccesses);
    assert!(
        matches!(&sent[..], [(_, new, result)] if new == "Linux\n" && *result == unknown),
        "{accesses:?}"
    );
    Ok(())
}
