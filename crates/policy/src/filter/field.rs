//! The fields of events.

/// A value of a knob, as a text or as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueField {
    /// `new`: what the caller writes.
    New,
    /// `old`: what the knob held before.
    Old,
    /// `stored`: what the knob is given, which is not `new` after a rewrite.
    Stored,
}

/// An integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntegerField {
    /// `pos`: the file position, its low 32 bits.
    Pos,
    /// `uid`: the real user id of the task, in the initial user namespace.
    Uid,
    /// `gid`: the real group id of the task, in the initial user namespace.
    Gid,
    /// `pid`: the id of the process, in the initial pid namespace.
    Pid,
    /// `tid`: the id of the thread, in the initial pid namespace.
    Tid,
    /// `cgroup_id`: the id of the task's cgroup.
    CgroupId,
    /// `line`: the line of the rule or default in its policy.
    Line,
    /// `netns`: the inode number of the task's network namespace.
    Netns,
    /// `utsns`: that of its UTS namespace.
    Utsns,
    /// `ipcns`: that of its IPC namespace.
    Ipcns,
    /// `userns`: that of its user namespace.
    Userns,
    /// `pidns`: that of its pid namespace.
    Pidns,
    /// `mntns`: that of its mount namespace.
    Mntns,
}

/// A text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextField {
    /// `comm`: the name of the task.
    Comm,
    /// `policy`: the name of the policy.
    Policy,
    /// `attachment`: the name of the attachment.
    Attachment,
    /// `cgroup`: the path of the task's cgroup.
    Cgroup,
    /// `container`: the name of the container, or its id if no name is known.
    Container,
    /// `container_id`: the id of the container.
    ContainerId,
    /// `pod`: the name of the pod.
    Pod,
    /// `namespace`: the namespace of the pod.
    Namespace,
    /// `image`: the image of the container.
    Image,
    /// `unit`: the systemd unit.
    Unit,
    /// `rule`: the text of the rule or default that decided.
    Rule,
}

/// What a policy decided about an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerdictKind {
    /// `allow`
    Allow,
    /// `deny`
    Deny,
    /// `rewrite`
    Rewrite,
}

/// What became of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// `allowed`: it passed.
    Allowed,
    /// `denied`: the policy denied it, or a program that ran earlier.
    Denied,
    /// `rewritten`: it passed with another value.
    Rewritten,
    /// `would_deny`: it passed in audit mode, and would have been denied.
    WouldDeny,
    /// `would_rewrite`: it passed in audit mode, and would have been rewritten.
    WouldRewrite,
}

impl OutcomeKind {
    /// Whether there is an errno: that of a denial, or of one that there would have been.
    pub fn is_denial(self) -> bool {
        matches!(self, Self::Denied | Self::WouldDeny)
    }
}
