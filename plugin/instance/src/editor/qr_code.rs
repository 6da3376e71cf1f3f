//! QR codes (ISO/IEC 18004), drawn as they are scanned best: dark on light, with their quiet zone.

use egui::accesskit::Role;
use egui::{Color32, Rect, Response, Sense, Ui, WidgetInfo, pos2, vec2};

/// Light modules around a code, on each side.
const QUIET: u16 = 4;
/// Of paper.
const LIGHT: Color32 = Color32::WHITE;
const DARK: Color32 = Color32::BLACK;

/// A text as a square of modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrCode {
    /// Modules a side, 21 to 177.
    side: u16,
    /// Runs of dark modules: row, first, one past the last.
    runs: Vec<[u16; 3]>,
}

impl QrCode {
    /// The smallest code of `text`; none where it is longer than the largest holds, which is 2,953 bytes.
    pub fn new(text: &str) -> Option<Self> {
        let code = qrcodegen::QrCode::encode_text(text, qrcodegen::QrCodeEcc::Low).ok()?;
        let side = u16::try_from(code.size()).ok()?;
        let is_dark = |x: u16, y: u16| x < side && code.get_module(x.into(), y.into());
        let mut runs = Vec::new();
        for y in 0..side {
            let mut x = 0;
            while x < side {
                let from = x;
                while is_dark(x, y) {
                    x += 1;
                }
                if x > from {
                    runs.push([y, from, x]);
                }
                x += 1;
            }
        }
        Some(Self { side, runs })
    }
}

/// Draws a code no larger than `width` points, in whole pixels a module. In the accessibility tree it is an image with
/// this name.
pub fn show(ui: &mut Ui, code: &QrCode, name: &str, width: f32) -> Response {
    let pixel = 1.0 / ui.pixels_per_point();
    let modules = f32::from(code.side + 2 * QUIET);
    let module = ((width / modules / pixel).floor() * pixel).max(pixel);
    let (rect, response) = ui.allocate_exact_size(vec2(modules * module, modules * module), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, name));
    if ui.is_rect_visible(rect) {
        // Whole pixels: half-lit edges are what scanners stumble over.
        let corner = pos2((rect.left() / pixel).round() * pixel, (rect.top() / pixel).round() * pixel);
        ui.painter().rect_filled(Rect::from_min_size(corner, rect.size()), 0.0, LIGHT);
        let at = |nth: u16| f32::from(nth + QUIET) * module;
        for [row, from, to] in &code.runs {
            let min = corner + vec2(at(*from), at(*row));
            ui.painter().rect_filled(Rect::from_min_max(min, corner + vec2(at(*to), at(row + 1))), 0.0, DARK);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "pictures")]
    use crate::editor::picture::draw;

    #[test]
    fn the_modules_are_those_of_the_code() {
        let text = "audiocloud://join/AAECAwQ";
        let (code, expected) =
            (QrCode::new(text).unwrap(), qrcodegen::QrCode::encode_text(text, qrcodegen::QrCodeEcc::Low));
        let expected = expected.unwrap();
        let is_dark =
            |x: u16, y: u16| code.runs.iter().any(|[row, from, to]| *row == y && (*from..*to).contains(&x));
        for (x, y) in (0..code.side).flat_map(|x| (0..code.side).map(move |y| (x, y))) {
            assert_eq!(is_dark(x, y), expected.get_module(x.into(), y.into()), "{x}, {y}");
        }
    }

    #[test]
    fn a_code_holds_what_a_link_has_and_no_more_than_the_standard() {
        assert!(QrCode::new(&"a".repeat(2_953)).is_some_and(|code| code.side == 177));
        assert_eq!(QrCode::new(&"a".repeat(2_954)), None);
    }

    #[cfg(feature = "pictures")]
    #[test]
    fn it_is_drawn_in_whole_pixels() {
        let code = QrCode::new("audiocloud").unwrap();
        let picture = draw(vec2(220.0, 220.0), 2.0, |ui| drop(show(ui, &code, "QR code", 180.0)));
        let dark: u16 = code.runs.iter().map(|[_, from, to]| to - from).sum();
        let module = 360 / usize::from(code.side + 2 * QUIET);
        assert_eq!(picture.count(DARK), usize::from(dark) * module * module);
        let all = usize::from(code.side + 2 * QUIET) * module;
        assert_eq!(picture.count(LIGHT), all * all - usize::from(dark) * module * module);
    }
}
