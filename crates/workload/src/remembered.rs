//! A workload as bytes, to remember what it was called when its cgroup is gone.
//!
//! First the path, then the names: each a tag, its length in two bytes (little endian), and its bytes. What the path says is not
//! stored again.

use crate::workload::{Engine, Origin, Piece, Workload};

/// The format. Another one is not read.
const VERSION: u8 = 1;
const PATH: u8 = 1;
const ENGINE: u8 = 2;

/// A name of a workload.
type Name = fn(&mut Workload) -> &mut Option<Piece>;

/// The names with their tags. What comes first is kept if there is not enough room.
const NAMES: [(u8, Name); 8] = [
    (16, |workload| &mut workload.container_id),
    (17, |workload| &mut workload.container_name),
    (18, |workload| &mut workload.pod_name),
    (19, |workload| &mut workload.namespace),
    (20, |workload| &mut workload.pod_id),
    (21, |workload| &mut workload.project),
    (22, |workload| &mut workload.service),
    (23, |workload| &mut workload.image),
];

/// The engines that know more about a container than its path shows.
const ENGINES: [Engine; 8] = [
    Engine::Containerd,
    Engine::CriO,
    Engine::Crun,
    Engine::Docker,
    Engine::Lxc,
    Engine::Nerdctl,
    Engine::Podman,
    Engine::Runc,
];

impl Workload {
    /// What is known about it, without what is around it, in at most `limit` bytes: names that find no room are left out. `None` if
    /// not even its path does.
    pub fn to_bytes(&self, limit: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![VERSION];
        let mut add = |tag: u8, text: &[u8]| {
            let length = u16::try_from(text.len()).ok()?;
            (bytes.len() + 3 + text.len() <= limit).then(|| {
                bytes.push(tag);
                bytes.extend(length.to_le_bytes());
                bytes.extend(text);
            })
        };
        add(PATH, &self.path)?;
        if ENGINES.contains(&self.engine) {
            add(ENGINE, self.engine.name().as_bytes());
        }
        let mut names = Self { outer: None, owner: None, ..self.clone() };
        for (tag, name) in NAMES {
            if let Some(piece) = name(&mut names) {
                add(tag, piece.bytes());
            }
        }
        Some(bytes)
    }

    /// The workload with [these bytes](Self::to_bytes), which zeros may follow; `None` if they are something else.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let mut workload = None;
        while rest.first().is_some_and(|&tag| tag != 0) {
            let (tag, text, after) = entry(rest)?;
            rest = after;
            if tag == PATH && workload.is_none() {
                let of_path = Self::of_path(text);
                workload = Some(Self { path: text.to_vec(), outer: None, owner: None, ..of_path });
                continue;
            }
            let workload = workload.as_mut()?;
            if tag == ENGINE {
                let engine = ENGINES.into_iter().find(|engine| engine.name().as_bytes() == text);
                workload.engine = engine.unwrap_or(workload.engine);
            } else if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == tag) {
                *name(workload) = Some(Piece::new(text, Origin::State));
            }
        }
        workload
    }

    /// Adds what was known about the container when it was started, which this one is, or is in.
    ///
    /// A container is the outermost one to whoever started it. If that was in another container, it is not known which of the levels
    /// here it is, unless they have its path.
    pub fn add_started(&mut self, started: &Self) {
        let mut level = &mut *self;
        while level.path != started.path && level.outer.is_some() {
            let Some(outer) = &mut level.outer else { return };
            level = outer;
        }
        let is_in_unit = level.engine == Engine::Systemd && below(&started.path, &level.path);
        if level.path == started.path || level.engine == Engine::None || is_in_unit {
            level.path.clone_from(&started.path);
            level.add_known(started);
            level.owner = None;
        } else if level.engine == Engine::Systemd && below(&level.path, &started.path) {
            level.outer = Some(Box::new(started.clone()));
            level.owner = None;
        }
    }

    /// Adds what is known about the same container from elsewhere, where this one lacks it.
    fn add_known(&mut self, other: &Self) {
        // The engine is more than the runtime that it uses, and than a guess.
        let is_vague = |engine| {
            matches!(
                engine,
                Engine::None
                    | Engine::Container
                    | Engine::Cri
                    | Engine::Systemd
                    | Engine::Runc
                    | Engine::Crun
            )
        };
        if is_vague(self.engine) && other.engine != Engine::None {
            self.engine = other.engine;
        }
        let mut other = other.clone();
        for (_, name) in NAMES {
            if name(self).is_none() {
                *name(self) = name(&mut other).take();
            }
        }
    }
}

/// Whether the cgroup with the path `path` is below the other.
fn below(path: &[u8], other: &[u8]) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.starts_with(b"/"))
}

/// The tag and the text of the next entry, and what comes after it.
fn entry(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (text, after) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    Some((tag, text, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload() -> Workload {
        Workload {
            engine: Engine::CriO,
            container_name: Some(Piece::new("nginx", Origin::State)),
            pod_name: Some(Piece::new("web-1", Origin::State)),
            namespace: Some(Piece::new("prod", Origin::State)),
            image: Some(Piece::new(vec![b'i'; 4096], Origin::State)),
            container_id: Some(Piece::new("c1", Origin::State)),
            pod_id: Some(Piece::new("ab-12", Origin::State)),
            ..Workload::of_path(b"/system.slice/web.service")
        }
    }

    #[test]
    fn a_workload_is_read_as_it_was_written() {
        for limit in [8192, 1024] {
            let mut bytes = workload().to_bytes(limit).expect("there is room");
            bytes.resize(limit, 0);
            let image = workload().image.filter(|_| limit > 4096);
            assert_eq!(Workload::of_bytes(&bytes), Some(Workload { image, ..workload() }), "{limit}");
        }
        assert_eq!(workload().to_bytes(8), None);
    }

    #[test]
    fn other_bytes_are_no_workload() {
        let bytes = workload().to_bytes(8192).expect("there is room");
        for end in 0..bytes.len() {
            let read = Workload::of_bytes(&bytes[..end]);
            assert!(read.is_none_or(|read| read.path == workload().path), "{end}");
        }
        for bytes in [&b""[..], &[0; 64], &[2, 1, 1, 0, b'/'], &[1, 2, 1, 0, b'x'], &[1, 1, 255, 255, b'/']] {
            assert_eq!(Workload::of_bytes(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_was_known_at_the_start_fills_gaps() {
        const ID: &str = "4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f";
        let started = |path: &str| Workload {
            path: path.as_bytes().to_vec(),
            engine: Engine::Podman,
            container_name: Some(Piece::new("web", Origin::State)),
            ..Workload::default()
        };
        for (path, started_in, expected) in [
            ("/x/c1", "/x/c1", "podman/web"),
            ("/x/c1/leaf", "/x/c1", "podman/web"),
            ("/machine.slice/libpod-{ID}.scope/container", "/machine.slice/libpod-{ID}.scope", "podman/web"),
            ("/system.slice/a.service/c1", "/system.slice/a.service/c1", "podman/web"),
            ("/x/c1/b.service", "/x/c1", "unit b.service in podman/web"),
            ("/x/{ID}/docker/{ID}", "/x/{ID}", "docker/4f6b1e3a9c0d in podman/web"),
            // It is not known which of these it is.
            ("/docker/{ID}/x", "/docker", "docker/4f6b1e3a9c0d"),
        ] {
            let [path, started_in] = [path, started_in].map(|path| path.replace("{ID}", ID));
            let mut workload = Workload::of_path(path.as_bytes());
            workload.add_started(&started(&started_in));
            assert_eq!(String::from_utf8_lossy(&workload.label()), expected, "{path}");
        }
        // Whoever renames it has the last word.
        let mut renamed = Workload::of_path(b"/x/c1");
        renamed.container_name = Some(Piece::new("new", Origin::State));
        renamed.add_started(&started("/x/c1"));
        assert_eq!(renamed.label(), b"podman/new");
    }
}
