//! Every way to attach, and the errors of each.

use crate::Case;
use crate::programs::setting;

/// An attach step.
fn attach(program: &str, cgroup: &str, mode: &str, rest: &str) -> String {
    format!(
        r#"{{"attach": {{"program": "{program}", "cgroup": "{cgroup}", "mode": "{mode}"{}{rest}}}}}"#,
        if rest.is_empty() { "" } else { ", " }
    )
}

/// Who runs where, and what comes of a write.
const LOOK: &str = r#"{"effective": "/"}, {"effective": "a"}, {"effective": "a/b"}, {"effective": "a/b/c"},
    {"write": {"knob": "net.core.somaxconn", "cgroup": "a/b", "data": "11"}}"#;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<(&'static str, Vec<String>)> = Vec::new();
    let mut case = |name, steps: Vec<String>| cases.push((name, steps));
    let look = || LOOK.to_owned();

    for mode in ["link", "single", "override", "multi"] {
        case(
            "one program, and then another",
            vec![
                attach("deny", "a", mode, r#""as": "x""#),
                look(),
                attach("allow", "a", mode, r#""as": "y""#),
                look(),
                attach("allow", "a", mode, r#""as": "z""#),
                look(),
                r#"{"detach": "y"}"#.to_owned(),
                look(),
                r#"{"detach": "x"}, {"detach": "x"}, {"detach": "z"}"#.to_owned(),
                look(),
            ],
        );
        for other in ["link", "single", "override", "multi"] {
            case(
                "one mode beside, above and below another",
                vec![
                    attach("allow", "a/b", mode, r#""as": "x""#),
                    attach("allow too", "a/b", other, r#""as": "y""#),
                    attach("allow too", "a/b/c", other, ""),
                    attach("allow as well", "a", other, ""),
                    look(),
                    r#"{"detach": "x"}"#.to_owned(),
                    look(),
                    attach("deny", "a/b", other, ""),
                    look(),
                ],
            );
        }
        for attach_type in [0, 8, 18, 19, 43, 4_000_000_000_u32] {
            let to = format!(r#""attach_type": {attach_type}"#);
            case("the hook of another type", vec![attach("allow", "a", mode, &to), look()]);
        }
        for flags in
            [r#""preorder""#, r#""before""#, r#""after""#, r#""before", "after""#, r#""preorder", "before""#]
        {
            let flagged = |program, cgroup, rest: &str| {
                attach(program, cgroup, mode, &format!(r#""flags": [{flags}]{rest}"#))
            };
            case(
                "flags without another attachment",
                vec![
                    flagged("allow", "a", ""),
                    flagged("allow too", "a", ""),
                    attach("ENOENT", "a", mode, ""),
                    flagged("allow as well", "a", ""),
                    flagged("undo", "a/b", ""),
                    look(),
                ],
            );
        }
        for other_mode in ["link", "multi"] {
            for flags in [
                r#""before""#,
                r#""after""#,
                "",
                r#""before", "after""#,
                r#""before", "preorder""#,
                r#""replace""#,
                r#""replace", "before""#,
                r#""replace", "preorder""#,
            ] {
                let flagged = format!(r#""flags": [{flags}], "relative_to": "x", "as": "y""#);
                case(
                    "flags with another attachment",
                    vec![
                        attach("allow", "a", other_mode, r#""as": "w""#),
                        attach("deny", "a", other_mode, r#""as": "x""#),
                        attach("allow as well", "a", other_mode, ""),
                        attach("allow too", "a", mode, &flagged),
                        look(),
                        // The other attachment is on another cgroup.
                        attach("allow too", "d", mode, &flagged.replace("\"y\"", "\"z\"")),
                        r#"{"effective": "d"}, {"detach": "x"}"#.to_owned(),
                        attach("allow", "a", mode, &flagged.replace("\"y\"", "\"v\"")),
                        r#"{"detach": "y"}"#.to_owned(),
                        look(),
                    ],
                );
            }
        }
    }
    case(
        "preorder runs before what is below, and after what is preorder above",
        vec![
            attach("allow", "a", "link", r#""flags": ["preorder"]"#),
            attach("allow too", "a", "link", ""),
            attach("deny", "a/b", "multi", ""),
            attach("undo", "a/b", "multi", r#""flags": ["preorder"]"#),
            attach("ENOENT", "a/b", "link", r#""flags": ["preorder"]"#),
            attach("allow as well", "a/b/c", "link", r#""as": "x""#),
            look(),
            r#"{"update": {"link": "x", "program": "deny"}}"#.to_owned(),
            look(),
        ],
    );
    case(
        "links are updated until they are detached",
        vec![
            attach("allow", "a", "link", r#""as": "x""#),
            attach("allow too", "a", "link", r#""as": "y""#),
            look(),
            r#"{"update": {"link": "x", "program": "deny"}}"#.to_owned(),
            look(),
            r#"{"update": {"link": "x", "program": "deny"}}, {"update": {"link": "y", "program": "deny"}}"#
                .to_owned(),
            look(),
            r#"{"detach": "x"}, {"update": {"link": "x", "program": "allow"}}, {"detach": "x"}"#.to_owned(),
            look(),
        ],
    );
    case(
        "what was not attached is not there",
        vec![
            attach("allow", "a", "single", r#""as": "w""#),
            attach("allow", "a/b", "link", r#""as": "x""#),
            attach("allow", "a/b", "multi", r#""as": "y""#),
            attach("allow", "d", "multi", r#""flags": ["before"], "relative_to": "y""#),
            attach("allow", "d", "multi", r#""flags": ["replace"], "relative_to": "y""#),
            r#"{"detach": "x"}, {"detach": "y"}, {"update": {"link": "x", "program": "deny"}}"#.to_owned(),
            r#"{"detach": "w"}, {"detach": "w"}"#.to_owned(),
            look(),
        ],
    );
    let many = (0..65).map(|index| attach("allow", "a", "link", &format!(r#""as": {index}"#)));
    case("no more than 64", many.chain([attach("deny", "a", "multi", ""), look()]).collect());
    let many = (0..63).map(|index| attach("allow", "a", "link", &format!(r#""as": {index}"#)));
    case(
        "nothing is replaced where there are 64",
        many.chain([
            attach("deny", "a", "multi", r#""as": "x""#),
            attach("allow", "a", "multi", r#""flags": ["replace"], "relative_to": "x""#),
            attach("allow too", "a", "multi", r#""flags": ["before"], "relative_to": 5"#),
        ])
        .collect(),
    );
    cases.into_iter().map(|(name, steps)| (name, setting(), steps.join(", "))).collect()
}
