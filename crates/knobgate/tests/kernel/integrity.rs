//! What somebody else does to attachments is found.

use knobgate::kernel::{
    AttachMode, AttachPosition, Cgroup, Link, LinkSource, LoadOptions, LoadedProgram, link_create,
    link_detach, link_update, load, prog_attach, prog_detach,
};
use knobgate::{Attachments, CgroupRef, FindingKind, ForeignBy, Integrity, LinksOf, PinWatch, PolicyVersion};
use knobgate_bpf::{Insn, Program, Reg, Width};
use knobgate_testing::{Test, scratch};
use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{compiled, name};

pub(crate) const TESTS: &[Test] = &[
    ("what_is_as_it_was_attached_has_no_findings", nothing),
    ("a_link_that_was_detached_through_its_descriptor_is_found", detached),
    ("a_link_with_another_program_is_found", replaced),
    ("a_pin_that_is_gone_is_found_once", vanished),
    ("programs_of_others_on_a_guarded_cgroup_and_above_are_found", foreign),
    ("a_pin_that_is_removed_wakes_its_watch", watched),
];

/// A program that allows everything, which knobgate did not make.
fn others() -> Result<LoadedProgram, Failed> {
    let insns = vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()];
    let program = Program { name: "others".to_owned(), insns, ..Program::default() };
    Ok(load(&program, &LoadOptions::default())?)
}

/// A policy on a cgroup of its own, which is removed when the test ends.
struct Setup {
    top: knobgate::kernel::ScratchCgroup,
    cgroup: Cgroup,
    attachments: Attachments,
    name: knobgate::kernel::AttachmentName,
}

impl Setup {
    fn new(policy: &str) -> Result<Self, Failed> {
        let top = scratch();
        let cgroup = top.create("guarded")?;
        let (attachments, name) = (Attachments::create()?, name(policy));
        let program = compiled("policy x\ndefault write allow\n")?.load()?;
        attachments.apply(&name, &program, &[CgroupRef::at(cgroup.path())?], LinkSource::Hand)?;
        Ok(Self { top, cgroup, attachments, name })
    }

    /// The findings about the cgroup. Other tests have their own.
    fn findings(&self, integrity: &mut Integrity) -> Result<Vec<FindingKind>, Failed> {
        let findings = integrity.pass(&self.attachments)?.iter();
        let own = findings.filter(|finding| finding.cgroup_id == self.cgroup.id());
        let mut kinds = Vec::new();
        for finding in own {
            assert_eq!(finding.cgroup.as_deref(), Some(self.cgroup.path()));
            assert_eq!(finding.attachments.iter().map(|name| &**name).collect::<Vec<_>>(), [&self.name]);
            kinds.push(finding.kind.clone());
        }
        Ok(kinds)
    }

    fn link(&self) -> Result<Link, Failed> {
        Ok(Link::from_pin(self.pin())?)
    }

    fn pin(&self) -> std::path::PathBuf {
        self.attachments.path().join(self.name.as_str()).join(format!("cgroup-{}", self.cgroup.id()))
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = self.attachments.detach(&self.name, &[], LinksOf::Any);
    }
}

fn nothing() -> Result<(), Failed> {
    let setup = Setup::new("knobgate-test-as-attached")?;
    let mut integrity = Integrity::new();
    for _ in 0..2 {
        assert_eq!(setup.findings(&mut integrity)?, []);
    }
    // Replaced by knobgate.
    let program = compiled("policy x\ndefault write allow\ndeny write kernel.domainname\n")?.load()?;
    let cgroups = [CgroupRef::at(setup.cgroup.path())?];
    setup.attachments.apply(&setup.name, &program, &cgroups, LinkSource::Hand)?;
    assert_eq!(setup.findings(&mut integrity)?, []);
    // The cgroup is removed.
    setup.cgroup.remove()?;
    assert_eq!(setup.findings(&mut integrity)?, []);
    Ok(())
}

fn detached() -> Result<(), Failed> {
    let setup = Setup::new("knobgate-test-detached")?;
    let mut integrity = Integrity::new();
    let link = setup.link()?;
    link_detach(&link)?;
    for _ in 0..2 {
        assert_eq!(setup.findings(&mut integrity)?, [FindingKind::Detached { link_id: link.id() }]);
    }
    Ok(())
}

fn replaced() -> Result<(), Failed> {
    let setup = Setup::new("knobgate-test-replaced")?;
    let mut integrity = Integrity::new();
    let (link, others) = (setup.link()?, others()?);
    let before = link.program()?;
    link_update(&link, &others.program)?;
    let found = setup.findings(&mut integrity)?;
    let [FindingKind::Replaced { link_id, program }] = &found[..] else {
        return Err(format!("{found:?}").into());
    };
    let id = others.program.info()?.id;
    assert_eq!((*link_id, program.id, &*program.name, program.loaded_by), (link.id(), id, "others", 0));
    link_update(&link, &before)?;
    assert_eq!(setup.findings(&mut integrity)?, []);

    // The program of an attachment without links is known, too. Another one of knobgate's is not that.
    let version = knobgate::policy::parse(
        knobgate::policy::Source::new("x.knob", "policy knobgate-test-replaced\ndefault write allow\n"),
        &knobgate::policy::CheckOptions::default(),
    )?;
    let version = PolicyVersion::new(version);
    let at = CgroupRef::at(setup.top.path())?;
    setup.attachments.link(&[&version], &at, LinkSource::Agent)?;
    let pin = setup.attachments.path().join(version.name().as_str());
    let link = Link::from_pin(pin.join(format!("cgroup-{}:agent", setup.top.id())))?;
    link_update(&link, &before)?;
    let on_top = |integrity: &mut Integrity| -> Result<Vec<FindingKind>, Failed> {
        let found = integrity.pass(&setup.attachments)?.iter();
        let found = found.filter(|finding| finding.cgroup_id == setup.top.id());
        Ok(found.map(|finding| finding.kind.clone()).collect())
    };
    let found = on_top(&mut integrity)?;
    assert!(
        matches!(&found[..], [FindingKind::Replaced { program, .. }] if program.id == before.info().unwrap().id),
        "{found:?}"
    );
    setup.attachments.detach(version.name(), &[], LinksOf::Any)?;
    Ok(())
}

fn vanished() -> Result<(), Failed> {
    let setup = Setup::new("knobgate-test-vanished")?;
    let mut integrity = Integrity::new();
    assert_eq!(setup.findings(&mut integrity)?, []);
    std::fs::remove_file(setup.pin())?;
    let found = setup.findings(&mut integrity)?;
    assert!(
        matches!(found[..], [FindingKind::PinVanished { origin }] if origin.source == LinkSource::Hand),
        "{found:?}"
    );
    assert_eq!(setup.findings(&mut integrity)?, []);
    Ok(())
}

fn foreign() -> Result<(), Failed> {
    let setup = Setup::new("knobgate-test-foreign")?;
    let mut integrity = Integrity::new();
    let others = others()?;
    let place = AttachPosition::default();
    let link = link_create(&others.program, &setup.cgroup, &place)?;
    prog_attach(&others.program, &setup.top, AttachMode::Multi, &place)?;
    let mut expected = vec![
        (setup.cgroup.path().to_owned(), ForeignBy::Link(link.id())),
        (setup.top.path().to_owned(), ForeignBy::Mode(AttachMode::Multi)),
    ];
    expected.sort();
    for _ in 0..2 {
        let mut found = Vec::new();
        for kind in setup.findings(&mut integrity)? {
            let FindingKind::Foreign { program, attached_to, by } = kind else {
                return Err(format!("{kind:?}").into());
            };
            assert_eq!((program.id, &*program.name), (others.program.info()?.id, "others"));
            found.push((attached_to, by));
        }
        found.sort();
        assert_eq!(found, expected);
    }
    drop(link);
    prog_detach(&others.program, &setup.top)?;
    assert_eq!(setup.findings(&mut integrity)?, []);
    // A policy of knobgate's, by hand, is none of others.
    let ours = compiled("policy x\ndefault write allow\n")?.load()?;
    let _link = Link::create(&ours.program, &setup.top)?;
    assert_eq!(setup.findings(&mut integrity)?, []);
    Ok(())
}

fn watched() -> Result<(), Failed> {
    let attachments = Attachments::create()?;
    let mut watch = PinWatch::new(&attachments)?;
    let setup = Setup::new("knobgate-test-watched")?;
    watch.read()?;
    std::fs::remove_file(setup.pin())?;
    let timeout = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&timeout))?, 1);
    assert!(watch.read()?);
    Ok(())
}
