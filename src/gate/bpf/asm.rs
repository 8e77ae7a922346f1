//! A few instructions of the BPF machine (RFC 9669), and jumps to labels.

/// A register; R10 is the frame pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reg(u8);

/// Result and first scratch register.
pub(super) const R0: Reg = Reg(0);
/// First argument of a call, and of the program: the packet's context.
pub(super) const R1: Reg = Reg(1);
/// Second argument.
pub(super) const R2: Reg = Reg(2);
/// Third argument.
pub(super) const R3: Reg = Reg(3);
/// Fourth argument.
pub(super) const R4: Reg = Reg(4);
/// Kept by calls, as R7 and R8 are.
pub(super) const R6: Reg = Reg(6);
/// Kept by calls.
pub(super) const R7: Reg = Reg(7);
/// Kept by calls.
pub(super) const R8: Reg = Reg(8);
/// The frame pointer.
pub(super) const FP: Reg = Reg(10);

/// A width of memory access (RFC 9669 section 5).
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    Byte = 0x10,
    Half = 0x08,
    Word = 0x00,
    Double = 0x18,
}

/// A place to jump to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program as it grows.
#[derive(Debug, Default)]
pub(super) struct Program {
    code: Vec<[u8; 8]>,
    /// Where each label stands.
    labels: Vec<Option<usize>>,
    /// Jumps, and the labels they go to.
    jumps: Vec<(usize, Label)>,
}

const LOAD: u8 = 0x61;
const STORE_VALUE: u8 = 0x62;
const LOAD_WIDE: u8 = 0x18;
const JUMP: u8 = 0x05;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_GREATER_REGISTER: u8 = 0x2d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const MOVE_VALUE: u8 = 0xb7;
const MOVE: u8 = 0xbf;
const ADD_VALUE: u8 = 0x07;
const ADD: u8 = 0x0f;
const AND_VALUE: u8 = 0x57;
const SHIFT_LEFT_VALUE: u8 = 0x67;
/// The source register of [`LOAD_WIDE`] when the value is a map.
const MAP: Reg = Reg(1);
/// The same when it is the address of a map's only value.
const MAP_VALUE: Reg = Reg(2);

impl Program {
    fn push(&mut self, code: u8, to: Reg, from: Reg, offset: i16, value: i32) {
        let [low, high] = offset.to_ne_bytes();
        let [a, b, c, d] = value.to_ne_bytes();
        let registers = if cfg!(target_endian = "little") { to.0 | from.0 << 4 } else { to.0 << 4 | from.0 };
        self.code.push([code, registers, low, high, a, b, c, d]);
    }

    /// A label that is placed later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places a label before the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `to = value`
    pub(super) fn set(&mut self, to: Reg, value: i32) {
        self.push(MOVE_VALUE, to, R0, 0, value);
    }

    /// `to = from`
    pub(super) fn copy(&mut self, to: Reg, from: Reg) {
        self.push(MOVE, to, from, 0, 0);
    }

    /// `to += value`
    pub(super) fn add(&mut self, to: Reg, value: i32) {
        self.push(ADD_VALUE, to, R0, 0, value);
    }

    /// `to += from`
    pub(super) fn add_register(&mut self, to: Reg, from: Reg) {
        self.push(ADD, to, from, 0, 0);
    }

    /// `to &= value`
    pub(super) fn and(&mut self, to: Reg, value: i32) {
        self.push(AND_VALUE, to, R0, 0, value);
    }

    /// `to <<= bits`
    pub(super) fn shift_left(&mut self, to: Reg, bits: i32) {
        self.push(SHIFT_LEFT_VALUE, to, R0, 0, bits);
    }

    /// `to = *(size *)(from + offset)`
    pub(super) fn load(&mut self, size: Size, to: Reg, from: Reg, offset: i16) {
        self.push(LOAD | size as u8, to, from, offset, 0);
    }

    /// `*(size *)(to + offset) = value`
    pub(super) fn store(&mut self, size: Size, to: Reg, offset: i16, value: i32) {
        self.push(STORE_VALUE | size as u8, to, R0, offset, value);
    }

    /// `to = map`, by the map's descriptor.
    pub(super) fn load_map(&mut self, to: Reg, map: i32) {
        self.push(LOAD_WIDE, to, MAP, 0, map);
        self.push(0, R0, R0, 0, 0);
    }

    /// `to = &value`, of an array map with one entry.
    pub(super) fn load_map_value(&mut self, to: Reg, map: i32) {
        self.push(LOAD_WIDE, to, MAP_VALUE, 0, map);
        self.push(0, R0, R0, 0, 0);
    }

    /// Calls a helper of linux/bpf.h by its number.
    pub(super) fn call(&mut self, helper: i32) {
        self.push(CALL, R0, R0, 0, helper);
    }

    /// `goto label`
    pub(super) fn jump(&mut self, label: Label) {
        self.jump_by(JUMP, R0, R0, 0, label);
    }

    /// `if left == value goto label`
    pub(super) fn jump_equal(&mut self, left: Reg, value: i32, label: Label) {
        self.jump_by(JUMP_EQUAL, left, R0, value, label);
    }

    /// `if left != value goto label`
    pub(super) fn jump_not_equal(&mut self, left: Reg, value: i32, label: Label) {
        self.jump_by(JUMP_NOT_EQUAL, left, R0, value, label);
    }

    /// `if left > right goto label`, without sign.
    pub(super) fn jump_greater(&mut self, left: Reg, right: Reg, label: Label) {
        self.jump_by(JUMP_GREATER_REGISTER, left, right, 0, label);
    }

    fn jump_by(&mut self, code: u8, left: Reg, right: Reg, value: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(code, left, right, 0, value);
    }

    /// `return r0`
    pub(super) fn exit(&mut self) {
        self.push(EXIT, R0, R0, 0, 0);
    }

    /// The finished instructions.
    pub(super) fn finish(mut self) -> Vec<[u8; 8]> {
        for (at, label) in &self.jumps {
            let target = self.labels[label.0].expect("every label is placed by the function that made it");
            let distance = i16::try_from(target as i64 - *at as i64 - 1).expect("programs here are short");
            self.code[*at][2..4].copy_from_slice(&distance.to_ne_bytes());
        }
        self.code
    }
}
