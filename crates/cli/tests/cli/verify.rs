use crate::{knobgate, snapshot};

#[test]
fn wrong_arguments_are_reported_before_anything_is_loaded() {
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
fn files_that_are_not_policies_or_objects_are_bad() {
    snapshot(
        "verify-bad",
        [knobgate(["verify", "--policy", "many-errors.knob"]), knobgate(["verify", "--object", "web.knob"])],
    );
}
