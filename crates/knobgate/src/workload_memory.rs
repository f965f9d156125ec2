//! What containers were called when they were started, for when they are gone.
//!
//! That is a map beside the attachments, which all of them share. Only whoever starts a container knows all of its names: those in its
//! annotations are in no file of an engine that stays.

use knobgate_bpf::uapi::BPF_F_NO_PREALLOC;
use knobgate_bpf::{MapDef, MapKind};
use knobgate_kernel::{Hierarchy, Map, PinDir, create_map};
use knobgate_workload::Workload;

use crate::attachment_error::AttachmentError;
use crate::attachments::Attachments;

/// The name of the pinned map.
const PIN: &str = "_workloads";
/// How many containers it has room for.
const CONTAINERS_MAX: u32 = 8192;
/// How many bytes it has for each.
const BYTES_MAX: u32 = 1024;

/// The names of containers by the ids of their cgroups.
#[derive(Debug)]
pub(crate) struct WorkloadMemory(Map);

impl Attachments {
    /// Remembers what the container in the cgroup with this id is called: its events have this name when it is gone.
    ///
    /// # Errors
    ///
    /// [`AttachmentError::Directory`], [`Load`](AttachmentError::Load), [`Memory`](AttachmentError::Memory).
    pub fn remember_workload(&self, cgroup_id: u64, workload: &Workload) -> Result<(), AttachmentError> {
        let Some(mut value) = workload.to_bytes(BYTES_MAX as usize) else { return Ok(()) };
        value.resize(BYTES_MAX as usize, 0);
        let _lock = self.lock()?;
        let WorkloadMemory(map) = WorkloadMemory::create(&self.pins)?;
        let key = cgroup_id.to_le_bytes();
        if map.update(&key, &value).is_err() {
            // It is full, unless the kernel has no memory.
            make_room(&map)?;
            map.update(&key, &value)?;
        }
        Ok(())
    }
}

impl WorkloadMemory {
    /// The memory, if something was remembered since the bpffs was mounted.
    pub(crate) fn open(pins: &PinDir) -> Option<Self> {
        let map = pins.map(PIN).ok()??;
        let info = map.info();
        let is_sound =
            info.kind == MapKind::Hash.number() && (info.key_size, info.value_size) == (8, BYTES_MAX);
        is_sound.then_some(Self(map))
    }

    fn create(pins: &PinDir) -> Result<Self, AttachmentError> {
        if let Some(memory) = Self::open(pins) {
            return Ok(memory);
        }
        let def = MapDef {
            name: "workloads".to_owned(),
            kind: MapKind::Hash,
            key_size: 8,
            value_size: BYTES_MAX,
            max_entries: CONTAINERS_MAX,
            // Memory is only taken for containers that there are.
            flags: BPF_F_NO_PREALLOC,
            contents: Vec::new(),
            frozen: false,
            ..MapDef::default()
        };
        let map = create_map("workloads", &def)?;
        // Another version of knobgate may have left something else there.
        pins.unpin(PIN)?;
        pins.pin_map(PIN, &map)?;
        Ok(Self(map))
    }

    /// What the container in this cgroup was called.
    pub(crate) fn recall(&self, cgroup_id: u64) -> Option<Workload> {
        Workload::of_bytes(&self.0.lookup(&cgroup_id.to_le_bytes()).ok()??)
    }
}

/// Forgets the older half of the containers whose cgroups were removed; if there are none, of all.
fn make_room(map: &Map) -> Result<(), AttachmentError> {
    let hierarchy = Hierarchy::find().ok();
    let was_removed =
        |id: u64| hierarchy.as_ref().is_some_and(|hierarchy| hierarchy.was_removed(id).unwrap_or(false));
    let entries = map.entries()?;
    let mut ids: Vec<u64> =
        entries.iter().filter_map(|entry| entry.key.first_chunk().copied().map(u64::from_le_bytes)).collect();
    // A later cgroup has a higher id.
    ids.sort_unstable();
    let gone: Vec<u64> = ids.iter().copied().filter(|&id| was_removed(id)).collect();
    let old = if gone.is_empty() { ids } else { gone };
    for id in &old[..old.len().div_ceil(2)] {
        map.delete(&id.to_le_bytes())?;
    }
    Ok(())
}
