use crate::{knobgate, snapshot};

#[test]
fn top_needs_a_terminal_and_a_filter_that_is_right() {
    snapshot(
        "top",
        [
            knobgate(["top"]),
            knobgate(["top", "--filter", "verdict == dny"]),
            knobgate(["top", "no such name"]),
        ],
    );
}
