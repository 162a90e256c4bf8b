//! Messages made of sets (RFC 7011 §3, RFC 3954 §5), which IPFIX and NetFlow v9 have in common.

use weft_packet::ip_protocol;

use super::clock::Clock;
use super::template::{
    Exporting, OfExporter, OfFlow, OfInterface, Template, put_interface, put_number,
};
use super::{Message, NamedInterface, Settings, Statistics, Totals};
use crate::record::{Addresses, Record};

/// What the two formats do not have in common.
pub(super) struct Format {
    /// Octets of a message's header.
    pub(super) header_length: usize,
    /// Writes it at the front of a message.
    pub(super) put_header: fn(&mut [u8], &Header),
    /// The set of templates.
    pub(super) template_set: u16,
    /// The set of templates of options.
    pub(super) options_template_set: u16,
    /// The two numbers behind the id of a template of options, by how many scopes and options it has.
    pub(super) options_counts: fn(usize, usize) -> [usize; 2],
    /// How far a message moves the sequence number.
    pub(super) sequence_step: fn(&Header) -> u32,
    /// Flows.
    pub(super) templates: Templates,
    /// Options.
    pub(super) options: Options,
}

/// The layouts of flows.
pub(super) struct Templates {
    pub(super) ipv4: Template<OfFlow>,
    pub(super) ipv6: Template<OfFlow>,
    pub(super) icmp: Template<OfFlow>,
    pub(super) icmpv6: Template<OfFlow>,
    pub(super) layer2: Template<OfFlow>,
}

/// The layouts of options.
pub(super) struct Options {
    /// One record each.
    pub(super) exporter: &'static [Template<OfExporter>],
    /// One record for each interface.
    pub(super) interfaces: Template<OfInterface>,
}

/// What headers are written from.
pub(super) struct Header {
    /// Octets of the whole message.
    pub(super) length: u16,
    /// Records of any kind in it, templates too.
    pub(super) records: u16,
    /// Records of flows and options in it.
    pub(super) data_records: u32,
    pub(super) sequence: u32,
    pub(super) domain: u32,
    pub(super) clock: Clock,
}

impl Templates {
    /// The layout that a flow has.
    fn of(&self, record: &Record) -> &Template<OfFlow> {
        match (record.flow.addresses, record.flow.protocol) {
            (Addresses::V4(..), ip_protocol::ICMP) => &self.icmp,
            (Addresses::V4(..), _) => &self.ipv4,
            (Addresses::V6(..), ip_protocol::ICMPV6) => &self.icmpv6,
            (Addresses::V6(..), _) => &self.ipv6,
            (Addresses::None, _) => &self.layer2,
        }
    }
}

/// What lasts from one message to the next.
pub(super) struct Sets {
    format: &'static Format,
    sequence: u32,
    /// Messages that were made.
    messages: u64,
    /// The message in work, the header's room included. Empty between two calls, and kept for its memory.
    buffer: Vec<u8>,
}

impl Sets {
    pub(super) fn new(format: &'static Format) -> Self {
        Self {
            format,
            sequence: 0,
            messages: 0,
            buffer: Vec::new(),
        }
    }

    /// Begins to make messages, which go to `out`.
    pub(super) fn writer<'a, O: FnMut(Message<'_>)>(
        &'a mut self,
        settings: &'a Settings,
        clock: Clock,
        out: O,
    ) -> Writer<'a, O> {
        let mut writer = Writer {
            sets: self,
            settings,
            clock,
            out,
            set: None,
            records: 0,
            data_records: 0,
            flows: Totals::default(),
        };
        writer.clear();
        writer
    }
}

/// Makes the messages of one moment.
pub(super) struct Writer<'a, O> {
    sets: &'a mut Sets,
    settings: &'a Settings,
    clock: Clock,
    out: O,
    /// The set that is open: its id, and where it begins.
    set: Option<(u16, usize)>,
    records: u16,
    data_records: u32,
    flows: Totals,
}

/// Octets of a set's header: its id, and its length.
const SET_HEADER: usize = 4;

/// Sets begin at multiples of this (RFC 3954 §5.3, RFC 7011 §3.3.1), which headers of messages do not disturb.
const ALIGNMENT: usize = 4;

/// Data sets have ids from here on.
const FIRST_DATA_SET: u16 = 256;

impl<O: FnMut(Message<'_>)> Writer<'_, O> {
    /// Messages that were made so far, in earlier moments too.
    pub(super) fn messages(&self) -> u64 {
        self.sets.messages
    }

    /// Appends a flow.
    pub(super) fn flow(&mut self, record: &Record) {
        let template = self.sets.format.templates.of(record);
        self.begin(template.id, template.record_length());
        for field in template.fields() {
            let value = (field.value)(record, &self.clock);
            put_number(&mut self.sets.buffer, field.length, value);
        }
        self.flows += Totals::of(record);
    }

    /// Makes messages of all templates, then such of all options. Both stand alone, so that a collector that counts
    /// records of flows only loses count once at most.
    pub(super) fn announce(&mut self, interfaces: &[NamedInterface], statistics: &Statistics) {
        self.flush();
        let format = self.sets.format;
        let templates = &format.templates;
        self.template(&templates.ipv4);
        self.template(&templates.ipv6);
        self.template(&templates.icmp);
        self.template(&templates.icmpv6);
        self.template(&templates.layer2);
        for template in format.options.exporter {
            self.options_template(template);
        }
        self.options_template(&format.options.interfaces);
        self.flush();

        let exporting = Exporting {
            settings: self.settings,
            statistics,
            clock: self.clock,
        };
        for template in format.options.exporter {
            self.begin(template.id, template.record_length());
            for field in template.fields() {
                let value = (field.value)(&exporting);
                put_number(&mut self.sets.buffer, field.length, value);
            }
        }
        let template = &format.options.interfaces;
        for interface in interfaces {
            // Alone in its set: nfdump 1.7.1 takes a wrong length for those behind the first.
            self.close();
            self.begin(template.id, template.record_length());
            for field in template.fields() {
                let domain = self.settings.domain;
                put_interface(&mut self.sets.buffer, field, domain, interface);
            }
        }
        self.flush();
    }

    /// Sends off the message in work, if there is anything in it.
    pub(super) fn flush(&mut self) {
        if self.records == 0 {
            return;
        }
        self.close();
        let header = Header {
            // `begin` keeps it below the limit, which is a u16.
            length: self.sets.buffer.len() as u16,
            records: self.records,
            data_records: self.data_records,
            sequence: self.sets.sequence,
            domain: self.settings.domain,
            clock: self.clock,
        };
        let format = self.sets.format;
        (format.put_header)(&mut self.sets.buffer, &header);
        self.sets.sequence = (self.sets.sequence).wrapping_add((format.sequence_step)(&header));
        self.sets.messages += 1;
        (self.out)(Message {
            bytes: &self.sets.buffer,
            flows: self.flows,
        });
        self.clear();
    }

    fn clear(&mut self) {
        let header_length = self.sets.format.header_length;
        self.sets.buffer.clear();
        self.sets.buffer.resize(header_length, 0);
        self.set = None;
        self.records = 0;
        self.data_records = 0;
        self.flows = Totals::default();
    }

    fn template(&mut self, template: &Template<OfFlow>) {
        let count = template.fields().count();
        self.begin(self.sets.format.template_set, 4 + 4 * count);
        self.put_u16(template.id);
        self.put_u16(count as u16);
        self.put_definitions(template);
    }

    /// In a set of its own: nfdump reads one of each.
    fn options_template<V>(&mut self, template: &Template<V>) {
        let scopes = template.scopes.len();
        let options = template.options().count();
        let format = self.sets.format;
        self.close();
        self.begin(format.options_template_set, 6 + 4 * (scopes + options));
        self.put_u16(template.id);
        for count in (format.options_counts)(scopes, options) {
            self.put_u16(count as u16);
        }
        self.put_definitions(template);
    }

    fn put_definitions<V>(&mut self, template: &Template<V>) {
        for field in template.fields() {
            self.put_u16(field.id);
            self.put_u16(field.length);
        }
    }

    fn put_u16(&mut self, number: u16) {
        put_number(&mut self.sets.buffer, 2, number.into());
    }

    /// Makes room for a record of `length` octets in a set `id`, which the caller appends then.
    fn begin(&mut self, id: u16, length: usize) {
        if !self.fits(id, length) {
            self.flush();
        }
        if !self.is_open(id) {
            self.close();
            self.set = Some((id, self.sets.buffer.len()));
            self.put_u16(id);
            self.put_u16(0);
        }
        self.records += 1;
        self.data_records += u32::from(id >= FIRST_DATA_SET);
    }

    fn fits(&self, id: u16, length: usize) -> bool {
        let from = self.sets.buffer.len();
        let from = if self.is_open(id) {
            from
        } else {
            from.next_multiple_of(ALIGNMENT) + SET_HEADER
        };
        (from + length).next_multiple_of(ALIGNMENT) <= self.settings.message_limit()
    }

    fn is_open(&self, id: u16) -> bool {
        self.set.is_some_and(|(open, _)| open == id)
    }

    /// Ends the open set: pads it with zeros, for pmacct refuses others, and writes its length.
    fn close(&mut self) {
        if let Some((_, start)) = self.set.take() {
            let buffer = &mut self.sets.buffer;
            buffer.resize(buffer.len().next_multiple_of(ALIGNMENT), 0);
            let length = (buffer.len() - start) as u16;
            buffer[start + 2..start + SET_HEADER].copy_from_slice(&length.to_be_bytes());
        }
    }
}
