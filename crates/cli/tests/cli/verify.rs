use crate::{knobgate, snapshot};

#[test]
fn what_cannot_be_verified_is_told_before_the_kernel_is_asked() {
    snapshot(
        "verify-usage",
        [
            knobgate(["verify"]),
            knobgate(["verify", "--policy", "web.knob", "--object", "../objects/verdicts.bpf.o"]),
            knobgate(["verify", "--policy", "web.knob", "--program", "right"]),
            knobgate(["verify", "--policy", "nowhere.knob"]),
            knobgate(["verify", "--object", "nowhere.bpf.o"]),
            knobgate(["verify", "--object", "../objects/verdicts.bpf.o", "--program", "other"]),
            knobgate(["verify", "--object", "../objects/verdicts.bpf.o", "--log=some"]),
        ],
    );
}

#[test]
fn what_is_no_policy_and_no_object_is_bad() {
    snapshot(
        "verify-bad",
        [knobgate(["verify", "--policy", "many-errors.knob"]), knobgate(["verify", "--object", "web.knob"])],
    );
}
