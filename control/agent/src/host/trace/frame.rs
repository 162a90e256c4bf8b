//! The frame that is traced.

use weft_api::{EtherType, Priority, Problem, ProblemKind, TraceFrame, TraceRequest};
use weft_packet::{MAX_TAGS, MacAddr, TPID_CTAG, Tag, TagEdit, ethernet};

/// The shortest frame of Ethernet without its FCS (IEEE 802.3-2018 §4A.4.2).
const SHORTEST: usize = 60;

/// A frame that nobody sends.
pub(super) struct DryFrame {
    pub(super) dst: MacAddr,
    pub(super) src: MacAddr,
    /// The outer one first.
    tags: Vec<Tag>,
    ethertype: EtherType,
    /// Octets.
    length: usize,
}

impl DryFrame {
    /// The frame that a request describes, from this source.
    ///
    /// # Errors
    /// `invalid`: more tags than the switch walks.
    pub(super) fn of(request: &TraceRequest, src: MacAddr) -> Result<Self, Problem> {
        if request.vlans.len() > MAX_TAGS {
            let message = format!("vlans: {} tags are too many", request.vlans.len());
            return Err(Problem::new(ProblemKind::Invalid, message)
                .in_field("vlans")
                .with_remedy(format!("the switch looks at {MAX_TAGS} tags at most")));
        }
        let priority = u16::from(request.priority.map_or(0, Priority::number)) << 13;
        let mut tags: Vec<_> = request
            .vlans
            .iter()
            .map(|vid| Tag::new(TPID_CTAG, vid.number(), 0))
            .collect();
        match tags.first_mut() {
            Some(outer) => outer.tci |= priority,
            None if request.priority.is_some() => tags.push(Tag::new(TPID_CTAG, 0, priority)),
            None => {}
        }
        let header = ethernet::HEADER_LEN + tags.len() * Tag::LEN;
        Ok(Self {
            dst: request.dst,
            src,
            tags,
            ethertype: request.ethertype.unwrap_or(EtherType::IPV4),
            length: request
                .length
                .map_or_else(|| SHORTEST.max(header), usize::from),
        })
    }

    /// Its octets; the payload is zeros.
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut octets = [self.dst.octets(), self.src.octets()].concat();
        octets.extend(self.tags.iter().flat_map(|tag| tag.octets()));
        octets.extend(self.ethertype.number().to_be_bytes());
        octets.resize(self.length, 0);
        octets
    }

    /// Octets behind its Ethernet header and tags.
    pub(super) fn payload(&self) -> usize {
        let header = ethernet::HEADER_LEN + self.tags.len() * Tag::LEN;
        self.length.saturating_sub(header)
    }

    /// The tags that it has behind an edit.
    pub(super) fn tags_after(&self, edit: TagEdit) -> Vec<Tag> {
        let mut tags = self.tags.clone();
        match edit {
            TagEdit::Strip | TagEdit::Replace(_) if !tags.is_empty() => drop(tags.remove(0)),
            _ => {}
        }
        if let TagEdit::Push(tag) | TagEdit::Replace(tag) = edit {
            tags.insert(0, tag);
        }
        tags
    }

    pub(super) fn described(&self) -> TraceFrame {
        TraceFrame {
            dst: self.dst,
            src: self.src,
            tags: self.tags.iter().copied().map(Into::into).collect(),
            ethertype: self.ethertype,
            length: self.length,
        }
    }
}
