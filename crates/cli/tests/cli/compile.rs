use knobgate_bpf::Object;

use crate::{knobgate, snapshot};

fn compile<const N: usize>(policy: &str, more: [&str; N]) -> snapbox::cmd::Command {
    knobgate(["compile", "--policy", policy, "-o", "/dev/null"]).args(more)
}

#[test]
fn what_a_kernel_cannot_do_is_reported_and_denied() {
    snapshot(
        "compile-degraded",
        [
            compile("failing.knob", []),
            compile("failing.knob", ["--profile", "6.1.170"]),
            compile("failing.knob", ["--profile", "6.18"]),
            // In audit mode it says what it would deny.
            compile("tested.knob", []),
            compile("comm.knob", []),
            compile("comm.knob", ["--profile", "6.18"]),
        ],
    );
}

#[test]
fn policies_that_cannot_be_compiled_give_no_object() {
    snapshot(
        "compile-rejected",
        [
            compile("many-errors.knob", []),
            compile("nowhere.knob", []),
            compile("failing.knob", ["--profile", "5.4"]),
            compile("failing.knob", ["--profile", "2.6"]),
            knobgate(["compile", "--policy", "tested.knob", "-o", "/nowhere/x.bpf.o"]),
            // The object could be loaded on another kernel, or after another boot.
            compile("-", ["--profile", "6.18"]).stdin("policy x\nallow write net.** if netns != host\n"),
        ],
    );
}

#[test]
fn a_policy_can_be_too_large_for_one_kernel_and_not_for_another() {
    let rules: Vec<String> = (0..800).map(|i| format!("deny write ** if old contains \"={i}=\"\n")).collect();
    let policy = format!("policy much\n{}", rules.concat());
    let output = |kernel| compile("-", ["--profile", kernel]).stdin(policy.clone()).output().unwrap();
    let (older, newer) = (output("5.15"), output("6.1.170"));
    assert_eq!((older.status.code(), newer.status.code()), (Some(1), Some(0)));
    // Which rule it is depends on the generated code.
    let printed = String::from_utf8(older.stderr).unwrap();
    for part in [
        "error[too-large]: up to this rule the policy is about 1000000 instructions of work for the kernel's verifier",
        "a kernel with bpf_loop (Linux 5.17) takes more such rules",
        "| deny write ** if old contains \"=",
        "= help: use fewer rules for the same names, or rules that differ only in their constants",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
}

#[test]
fn standard_output_has_only_the_object() {
    let output = knobgate(["compile", "--policy", "tested.knob", "-o", "-"]).output().unwrap();
    let programs = Object::read(&output.stdout).unwrap().programs().len();
    assert_eq!((output.status.code(), programs), (Some(0), 1));
}
