//! Attaching, replacing and detaching, and the effective programs.

use knobgate_hook::attach::{MAX_PROGRAMS, Options, Position, Relative};
use knobgate_hook::{AttachMode, CgroupId, Errno, Hook, Invocation, Knobs, LinkId, Profile, ProgramId};

/// A hook with the cgroups `g`, `g/p` and `g/p/c`, and programs `a`, `b`, and so on.
struct World {
    hook: Hook,
    g: CgroupId,
    p: CgroupId,
    c: CgroupId,
    programs: Vec<ProgramId>,
}

fn world(profile: &str) -> World {
    let mut hook = Hook::new(profile.parse::<Profile>().unwrap(), Knobs::defaults());
    let g = hook.create_cgroup(hook.root(), "g").unwrap();
    let p = hook.create_cgroup(g, "p").unwrap();
    let c = hook.create_cgroup(p, "c").unwrap();
    let programs = (0..70).map(|_| hook.load(|_: &mut Invocation<'_>| 1)).collect();
    World { hook, g, p, c, programs }
}

impl World {
    fn program(&self, letter: char) -> ProgramId {
        self.programs[letter as usize - 'a' as usize]
    }

    fn attach(
        &mut self,
        cgroup: CgroupId,
        letter: char,
        mode: AttachMode,
        options: Options,
    ) -> Result<(), Errno> {
        self.hook.attach(cgroup, self.program(letter), mode, options)
    }

    /// Attaches programs in multi mode; those in upper case in preorder.
    fn multi(&mut self, cgroup: CgroupId, letters: &str) {
        for letter in letters.chars() {
            let options = Options { preorder: letter.is_ascii_uppercase(), ..Options::default() };
            self.attach(cgroup, letter.to_ascii_lowercase(), AttachMode::Multi, options).unwrap();
        }
    }

    fn link(&mut self, cgroup: CgroupId, letter: char) -> LinkId {
        self.hook.link(cgroup, self.program(letter), Options::default()).unwrap()
    }

    fn letters(&self, programs: &[ProgramId]) -> String {
        let letter = |program| {
            let index = self.programs.iter().position(|other| other == program).unwrap();
            char::from(b'a' + index as u8)
        };
        programs.iter().map(letter).collect()
    }

    fn effective(&self, cgroup: CgroupId) -> String {
        self.letters(&self.hook.effective(cgroup).unwrap())
    }

    fn direct(&self, cgroup: CgroupId) -> String {
        self.letters(&self.hook.attached(cgroup).unwrap().programs)
    }
}

fn at(position: Position) -> Options {
    Options { position, ..Options::default() }
}

#[test]
fn the_deepest_cgroup_runs_first_and_preorder_before_everything() {
    let mut world = world("6.18");
    let (g, p, c) = (world.g, world.p, world.c);
    world.multi(g, "ab");
    world.multi(p, "cd");
    world.multi(c, "ef");
    assert_eq!(world.effective(c), "efcdab");
    assert_eq!(world.effective(p), "cdab");

    let mut world = self::world("6.18");
    let (g, c) = (world.g, world.c);
    world.multi(g, "Abc");
    world.hook.detach(g, Some(world.program('c')), None).unwrap();
    world.multi(c, "dEF");
    assert_eq!(world.effective(c), "aefdb");
}

#[test]
fn a_cgroup_has_the_name_of_a_directory() {
    let mut hook = Hook::default();
    let long = ["a".repeat(4095), "a".repeat(4096)];
    for (name, expected) in [
        ("", Some(Errno::EINVAL)),
        (".", Some(Errno::EINVAL)),
        ("..", Some(Errno::EINVAL)),
        ("a/b", Some(Errno::EINVAL)),
        ("a\nb", Some(Errno::EINVAL)),
        ("a\0b", Some(Errno::EINVAL)),
        ("...", None),
        (&long[0], None),
        (&long[1], Some(Errno::ENAMETOOLONG)),
    ] {
        assert_eq!(hook.create_cgroup(hook.root(), name).err(), expected, "{name:.10}");
    }
}

#[test]
fn attached_programs_cannot_be_unloaded() {
    let mut world = world("6.18");
    let (g, a, b) = (world.g, world.program('a'), world.program('b'));
    world.multi(g, "a");
    let link = world.link(g, 'b');
    assert_eq!([a, b].map(|program| world.hook.unload(program)), [Err(Errno::EBUSY); 2]);
    world.hook.detach(g, Some(a), None).unwrap();
    world.hook.close_link(link);
    assert_eq!([a, b].map(|program| world.hook.unload(program)), [Ok(()); 2]);
    assert_eq!(Hook::default().unload(a), Err(Errno::ENOENT), "a program of another hook");
}

#[test]
fn override_yields_to_descendants_and_single_forbids_them() {
    let mut world = world("6.18");
    let (g, p, c) = (world.g, world.p, world.c);
    world.attach(g, 'a', AttachMode::Override, Options::default()).unwrap();
    assert_eq!(world.effective(c), "a");
    world.multi(c, "b");
    assert_eq!((world.effective(p).as_str(), world.effective(c).as_str()), ("a", "b"));
    // A second one takes the place of the first; it cannot change the mode.
    world.attach(g, 'c', AttachMode::Override, Options::default()).unwrap();
    assert_eq!(world.direct(g), "c");
    assert_eq!(world.attach(g, 'd', AttachMode::Multi, Options::default()), Err(Errno::EPERM));
    // It is detached by any name, and none.
    world.hook.detach(g, None, None).unwrap();
    assert_eq!(world.hook.detach(g, None, None), Err(Errno::ENOENT));
    assert_eq!(world.hook.attached(g).unwrap().mode, None);

    world.attach(p, 'a', AttachMode::Single, Options::default()).unwrap();
    assert_eq!(world.attach(c, 'd', AttachMode::Multi, Options::default()), Err(Errno::EPERM));
    let linked = world.hook.link(c, world.program('d'), Options::default());
    assert_eq!(linked, Err(Errno::EPERM));
    // What was there before stays.
    assert_eq!(world.effective(c), "b");
}

#[test]
fn a_program_is_attached_once_and_linked_any_number_of_times() {
    let mut world = world("6.18");
    let (g, c) = (world.g, world.c);
    world.multi(g, "a");
    assert_eq!(world.attach(g, 'a', AttachMode::Multi, Options::default()), Err(Errno::EINVAL));
    let link = world.link(g, 'a');
    world.link(g, 'a');
    assert_eq!(world.effective(c), "aaa");
    world.hook.detach(g, Some(world.program('a')), None).unwrap();
    assert_eq!(world.hook.detach(g, Some(world.program('a')), None), Err(Errno::ENOENT));
    assert_eq!(world.hook.detach(g, None, None), Err(Errno::EINVAL));
    world.hook.detach_link(link).unwrap();
    world.hook.detach_link(link).unwrap();
    assert_eq!(world.effective(c), "a");
    assert_eq!(world.hook.update_link(link, world.program('b'), None), Err(Errno::ENOLINK));
}

#[test]
fn a_cgroup_has_room_for_64() {
    let mut world = world("6.18");
    let g = world.g;
    for index in 0..MAX_PROGRAMS {
        world.hook.attach(g, world.programs[index], AttachMode::Multi, Options::default()).unwrap();
    }
    let more = world.programs[MAX_PROGRAMS];
    assert_eq!(world.hook.attach(g, more, AttachMode::Multi, Options::default()), Err(Errno::E2BIG));
    assert_eq!(world.hook.replace(g, world.programs[0], more, Options::default()), Err(Errno::E2BIG));
}

#[test]
fn positions_say_where_and_revisions_whether() {
    let mut world = world("6.18");
    let g = world.g;
    let before = |letter: ProgramId| at(Position::Before(Relative::Program(letter)));
    world.multi(g, "ab");
    let (a, b, z) = (world.program('a'), world.program('b'), world.program('z'));
    world.attach(g, 'c', AttachMode::Multi, before(b)).unwrap();
    world.attach(g, 'd', AttachMode::Multi, at(Position::After(Relative::Program(a)))).unwrap();
    world.attach(g, 'e', AttachMode::Multi, at(Position::First)).unwrap();
    world.attach(g, 'f', AttachMode::Multi, at(Position::Last)).unwrap();
    assert_eq!(world.direct(g), "eadcbf");
    assert_eq!(world.attach(g, 'g', AttachMode::Multi, before(z)), Err(Errno::ENOENT));
    let preorder = Options { preorder: true, ..before(b) };
    assert_eq!(world.attach(g, 'g', AttachMode::Multi, preorder), Err(Errno::EINVAL));
    let link = world.link(g, 'h');
    let by_link = at(Position::Before(Relative::Link(link)));
    assert_eq!(world.attach(g, 'g', AttachMode::Multi, by_link), Err(Errno::EINVAL));
    world.hook.link(g, world.program('g'), by_link).unwrap();
    assert_eq!(world.direct(g), "eadcbfgh");

    let revision = world.hook.attached(g).unwrap().revision;
    assert_eq!(revision, 9);
    let stale = Options { expected_revision: Some(revision - 1), ..Options::default() };
    assert_eq!(world.attach(g, 'i', AttachMode::Multi, stale), Err(Errno::ESTALE));
    assert_eq!(world.hook.detach(g, Some(a), Some(revision - 1)), Err(Errno::ESTALE));
    world.hook.detach(g, Some(a), Some(revision)).unwrap();
    assert_eq!(world.hook.attached(g).unwrap().revision, revision + 1);
    assert_eq!(world.hook.replace(g, b, z, at(Position::First)), Err(Errno::EINVAL));
    world.hook.replace(g, b, z, Options::default()).unwrap();
    assert_eq!(world.direct(g), "edczfgh");
    // What only a link has attached is not replaced.
    assert_eq!(world.hook.replace(g, world.program('h'), b, Options::default()), Err(Errno::ENOENT));
}

#[test]
fn kernels_reject_options_that_they_do_not_know() {
    let preorder = Options { preorder: true, ..Options::default() };
    for (profile, links, preorders, positions) in [
        ("5.4", false, false, false),
        ("6.8", true, false, false),
        ("6.12.94", true, true, false),
        ("7.2", true, true, true),
    ] {
        let mut world = world(profile);
        let (g, a) = (world.g, world.program('a'));
        assert_eq!(world.hook.link(g, a, Options::default()).is_ok(), links, "{profile}");
        assert_eq!(world.attach(g, 'b', AttachMode::Multi, preorder).is_ok(), preorders, "{profile}");
        assert_eq!(world.hook.link(g, a, preorder).is_ok(), positions, "{profile}");
        assert_eq!(
            world.attach(g, 'c', AttachMode::Multi, at(Position::First)).is_ok(),
            positions,
            "{profile}"
        );
        // Kernels without attach positions ignore a relative program of a link.
        let no_side = at(Position::NoSide(Relative::Program(a)));
        let link = world.hook.link(g, a, no_side);
        assert_eq!(link.is_ok(), links && !positions, "{profile}");
        if let Ok(link) = link {
            let no_side = at(Position::NoSide(Relative::Link(link)));
            assert_eq!(world.hook.link(g, a, no_side), Err(Errno::EINVAL), "{profile}: it has a flag");
        }
        assert_eq!(world.attach(g, 'd', AttachMode::Multi, no_side), Err(Errno::EINVAL), "{profile}");
    }
}

#[test]
fn an_update_keeps_the_position_unless_the_kernel_misses_it() {
    // Where the kernel misses it, the place of a is counted to be the first, which is that of b; and a goes on running.
    for (profile, expected) in [("6.18", "bzc"), ("6.12.94", "zac")] {
        let mut world = world(profile);
        let (g, a, z) = (world.g, world.program('a'), world.program('z'));
        let link = world.link(g, 'a');
        world.multi(g, "Bc");
        assert_eq!(world.effective(g), "bac", "{profile}");
        assert_eq!(world.hook.update_link(link, z, Some(z)), Err(Errno::EPERM), "{profile}");
        world.hook.update_link(link, z, Some(a)).unwrap();
        assert_eq!(world.effective(g), expected, "{profile}");
        // Whatever is attached next puts it right.
        world.multi(g, "d");
        assert_eq!(world.effective(g), "bzcd", "{profile}");
    }
}

#[test]
fn removing_a_cgroup_detaches_its_programs() {
    let mut world = world("6.18");
    let (g, p, c) = (world.g, world.p, world.c);
    let link = world.link(c, 'a');
    assert_eq!(world.hook.remove_cgroup(p), Err(Errno::EBUSY));
    world.hook.remove_cgroup(c).unwrap();
    assert_eq!(world.hook.cgroup_of_link(link), None);
    assert_eq!(world.hook.update_link(link, world.program('b'), None), Err(Errno::ENOLINK));
    assert_eq!(world.attach(c, 'b', AttachMode::Multi, Options::default()), Err(Errno::ENOENT));
    // A new cgroup of that name inherits, and has nothing of the old one.
    world.multi(g, "d");
    let again = world.hook.create_cgroup(p, "c").unwrap();
    assert_eq!((world.hook.cgroup("g/p/c"), world.effective(again).as_str()), (Some(again), "d"));
}
