use knobgate_bpf::Object;

use crate::{knobgate, snapshot};

fn compile<const N: usize>(policy: &str, more: [&str; N]) -> snapbox::cmd::Command {
    knobgate(["compile", "--policy", policy, "-o", "/dev/null"]).args(more)
}

#[test]
fn what_a_kernel_cannot_do_is_said_and_denied() {
    snapshot(
        "compile-degraded",
        [
            compile("failing.knob", []),
            compile("failing.knob", ["--profile", "6.1.170"]),
            compile("failing.knob", ["--profile", "6.18"]),
            // In audit mode it says what it would deny.
            compile("tested.knob", []),
            compile("web.knob", []),
            compile("web.knob", ["--profile", "6.18"]),
        ],
    );
}

#[test]
fn nothing_is_made_of_what_cannot_be() {
    snapshot(
        "compile-refused",
        [
            compile("many-errors.knob", []),
            compile("nowhere.knob", []),
            compile("failing.knob", ["--profile", "5.4"]),
            compile("failing.knob", ["--profile", "2.6"]),
            knobgate(["compile", "--policy", "tested.knob", "-o", "/nowhere/x.bpf.o"]),
        ],
    );
}

#[test]
fn what_is_too_much_for_one_kernel_may_not_be_for_another() {
    let rules: Vec<String> = (0..800).map(|i| format!("deny write ** if old contains \"={i}=\"\n")).collect();
    let policy = format!("policy much\n{}", rules.concat());
    snapshot(
        "compile-too-large",
        [
            compile("-", ["--profile", "5.15"]).stdin(policy.clone()),
            compile("-", ["--profile", "6.1.170"]).stdin(policy),
        ],
    );
}

#[test]
fn an_object_goes_to_standard_output_alone() {
    let output = knobgate(["compile", "--policy", "tested.knob", "-o", "-"]).output().unwrap();
    let programs = Object::read(&output.stdout).unwrap().programs().len();
    assert_eq!((output.status.code(), programs), (Some(0), 1));
}
