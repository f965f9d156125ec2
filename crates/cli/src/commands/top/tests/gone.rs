//! What is gone: attachments, policies and cgroups.

use std::collections::HashSet;

use serde_json::json;

use super::*;

#[test]
fn what_is_gone_stays_for_a_minute_under_its_name() {
    let mut model = model();
    model.attached(attached(&["web"]));
    model.item(denied(START));
    model.item(allowed(START, "65\n"));
    assert_eq!(model.cgroups().map(|(id, _)| id).collect::<HashSet<_>>(), HashSet::from([4711, 4713]));
    assert_eq!(model.policies().collect::<Vec<_>>(), [12]);
    model.gone(&HashSet::from([4711, 4713]), &HashSet::from([12]));
    model.attached(Vec::new());
    assert_eq!((model.cgroups().count(), model.policies().count()), (0, 0));

    model.tick(moment(START + 59));
    // News from before do not change that.
    model.item(denied(START));
    assert!(line(&mut model, "default write deny").contains("(gone) docker/web-1"));
    assert!(line(&mut model, "(gone) web").contains("enforce"));
    assert!(line(&mut model, "(gone) policy job").contains("enforce"));
    model.tick(moment(START + 60));
    let screen = text(&mut model);
    assert!(!screen.contains("(gone)") && screen.contains("RULES 0"), "{screen}");
    assert!(screen.contains("EVENTS 3"), "what happened stays: {screen}");

    // Whoever runs the policy again is not gone.
    model.item(item(
        START + 61,
        json!({"attachment": null, "policy": "job", "cgroup": {"id": 5}, "origin": 13}),
    ));
    model.attached(attached(&["web"]));
    assert!(!text(&mut model).contains("(gone)"));
}

#[test]
fn a_policy_is_not_gone_with_a_cgroup_below_it() {
    let run = |members: Value| {
        let mut all = json!({"attachment": null, "policy": "job", "origin": 13, "cgroup": {"id": 5}});
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        item(START, all)
    };
    let mut model = model();
    model.item(run(json!({})));
    model.item(run(json!({"cgroup": {"id": 6}})));
    model.item(run(json!({"type": "suppressed", "count": 3})));
    model.gone(&HashSet::from([6]), &HashSet::new());
    assert!(line(&mut model, "policy job").ends_with(" 5"), "what was suppressed is the same policy's");
    // Another run of the policy.
    model.item(run(json!({"origin": 14})));
    model.gone(&HashSet::new(), &HashSet::from([13]));
    assert!(line(&mut model, "(gone) policy job").ends_with(" 5"));
    assert!(line(&mut model, "policy job").ends_with(" 1"));
}

#[test]
fn what_has_left_does_not_come_back_with_another_filter() {
    let mut model = model();
    model.attached(attached(&["web"]));
    model.item(denied(START));
    model.item(allowed(START, "65\n"));
    model.gone(&HashSet::from([4711]), &HashSet::from([12]));
    model.attached(Vec::new());
    // Still in its minute, marked at once, also while it is paused.
    press(&mut model, "/uid == 0\rp");
    let shown = text(&mut model);
    assert!(shown.contains("(gone) docker/web-1") && shown.contains("(gone) web"), "{shown}");
    assert!(shown.contains("(gone) policy job"), "{shown}");
    press(&mut model, "p");
    model.tick(moment(START + 60));
    for filter in ["", "/pid == 4121\r", "/\x15\r"] {
        press(&mut model, filter);
        let shown = text(&mut model);
        assert!(shown.contains("ATTACHMENTS 0 ") && !shown.contains("(gone)"), "{shown}");
        assert!(shown.contains("RULES 1 ") && shown.contains("EVENTS 2\n"), "{shown}");
    }
    model.gone(&HashSet::from([4713]), &HashSet::new());
    model.tick(moment(START + 120));
    assert!(text(&mut model).contains("no rules of cgroups that are there"));
}

#[test]
fn details_of_what_left_the_list_say_so() {
    let mut model = model();
    model.item(denied(START));
    press(&mut model, "\r");
    model.gone(&HashSet::from([4711]), &HashSet::new());
    assert!(text(&mut model).contains("the cgroup is gone"));
    model.tick(moment(START + 60));
    assert!(text(&mut model).contains("It is no longer in the list"));
    press(&mut model, "j\x1b[F\x1b");
    assert!(text(&mut model).contains("RULES 0"));
}
