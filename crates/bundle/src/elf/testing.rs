//! Small objects made by hand.

/// Returns a shared library for a machine (62: x86_64, 183: aarch64) that needs these libraries and
/// versions. Its addresses differ from its offsets, as in objects of real linkers.
pub(crate) fn object(machine: u16, needed: &[&str], versions: &[(&str, &[&str])]) -> Vec<u8> {
    const BASE: u64 = 0x1000;
    const HEADERS: usize = 64 + 2 * 56;
    let mut strings = vec![0_u8];
    let mut string = |text: &str| {
        let at = strings.len();
        strings.extend(text.as_bytes());
        strings.push(0);
        u32::try_from(at).unwrap()
    };
    let mut needs = Vec::new();
    for (at, (library, names)) in versions.iter().enumerate() {
        let next = if at + 1 == versions.len() { 0 } else { 16 + 16 * names.len() };
        needs.extend([1_u16, u16::try_from(names.len()).unwrap()].map(u16::to_le_bytes).concat());
        let numbers = [string(library), 16, u32::try_from(next).unwrap()];
        needs.extend(numbers.map(u32::to_le_bytes).concat());
        for (at, name) in names.iter().enumerate() {
            let next = if at + 1 == names.len() { 0 } else { 16 };
            needs.extend(0_u32.to_le_bytes());
            needs.extend([0_u16, 2].map(u16::to_le_bytes).concat());
            needs.extend([string(name), next].map(u32::to_le_bytes).concat());
        }
    }
    let mut dynamic: Vec<u64> =
        needed.iter().flat_map(|name| [1, u64::from(string(name))]).collect();
    let dynamic_size = (dynamic.len() + 8) * 8;
    let needs_at = HEADERS + dynamic_size;
    let strings_at = needs_at + needs.len();
    let address = |offset: usize| BASE + offset as u64;
    dynamic.extend([14, u64::from(string("libself.so.1")), 5, address(strings_at)]);
    dynamic.extend([if needs.is_empty() { 21 } else { 0x6fff_fffe }, address(needs_at), 0, 0]);

    let size = (strings_at + strings.len()) as u64;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend([3_u16, machine].map(u16::to_le_bytes).concat());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend([0_u64, 64, 0].map(u64::to_le_bytes).concat());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend([64_u16, 56, 2, 0, 0, 0].map(u16::to_le_bytes).concat());
    for (kind, offset, size) in [(1_u32, 0, size), (2, HEADERS, dynamic_size as u64)] {
        bytes.extend([kind, 4].map(u32::to_le_bytes).concat());
        let numbers = [offset as u64, address(offset), address(offset), size, size, 8];
        bytes.extend(numbers.map(u64::to_le_bytes).concat());
    }
    assert_eq!(bytes.len(), HEADERS);
    bytes.extend(dynamic.into_iter().flat_map(u64::to_le_bytes));
    bytes.extend(needs);
    bytes.extend(strings);
    bytes
}
