//! Pictures of windows, drawn without a display, a graphics card or a driver: for tests and the
//! documentation.
//!
//! A plain triangle rasteriser with egui's blending: premultiplied alpha, in gamma space, textures to the
//! nearest texel.

use std::collections::HashMap;
use std::io;

use egui::epaint::{ClippedPrimitive, ClippedShape, Mesh, Primitive, Vertex};
use egui::{Color32, ColorImage, Context, ImageData, Pos2, RawInput, Rect, TextureId, Ui, Vec2, pos2};

use super::theme;

/// The folder in which [`Picture::keep`] writes; unset, it writes nothing.
pub const KEEP_VARIABLE: &str = "AUDIOCLOUD_PICTURES";

/// An opaque picture, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// `width * height` of them.
    pub pixels: Vec<Color32>,
}

/// Pixels a point that are worth keeping; tests that keep nothing are quicker with one.
pub fn scale() -> f32 {
    if std::env::var_os(KEEP_VARIABLE).is_some() { 2.0 } else { 1.0 }
}

/// Draws a window's content `ui` of `size` points at `scale` pixels a point. It is called for several frames,
/// a thirtieth of a second each, until animations are over; the last is kept.
pub fn draw(size: Vec2, scale: f32, mut ui: impl FnMut(&mut Ui)) -> Picture {
    let context = Context::default();
    theme::apply(&context);
    let mut textures = HashMap::new();
    let mut shapes = Vec::new();
    for frame in 0..12_u8 {
        let mut input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, size)),
            time: Some(f64::from(frame) / 30.0),
            ..RawInput::default()
        };
        if let Some(viewport) = input.viewports.get_mut(&input.viewport_id) {
            viewport.native_pixels_per_point = Some(scale);
        }
        let mut output = context.run_ui(input, &mut ui);
        for (id, deltas) in output.textures_delta.set.drain() {
            for delta in deltas {
                let ImageData::Color(image) = delta.image;
                patch(textures.entry(id).or_default(), delta.pos, &image);
            }
        }
        output.textures_delta.free.clear();
        shapes = output.shapes;
    }
    rasterise(&context, shapes, size * scale, scale, &textures)
}

impl Picture {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![theme::BACKGROUND; width * height] }
    }

    /// Writes a PNG file of 24 bits a pixel.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_png(&self, out: impl io::Write) -> io::Result<()> {
        let side = |length: usize| u32::try_from(length).map_err(io::Error::other);
        let mut encoder = png::Encoder::new(out, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::High);
        let bytes: Vec<u8> = self.pixels.iter().flat_map(|pixel| [pixel.r(), pixel.g(), pixel.b()]).collect();
        encoder.write_header()?.write_image_data(&bytes)?;
        Ok(())
    }

    /// Writes `name`.png into the folder that [`KEEP_VARIABLE`] names, if it does.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&self, name: &str) -> io::Result<()> {
        let Some(folder) = std::env::var_os(KEEP_VARIABLE) else { return Ok(()) };
        let path = std::path::Path::new(&folder).join(name).with_extension("png");
        self.write_png(io::BufWriter::new(std::fs::File::create(path)?))
    }

    /// How many pixels have exactly this colour.
    pub fn count(&self, color: Color32) -> usize {
        self.pixels.iter().filter(|pixel| **pixel == color).count()
    }
}

fn patch(texture: &mut ColorImage, at: Option<[usize; 2]>, image: &ColorImage) {
    let Some([left, top]) = at else {
        *texture = image.clone();
        return;
    };
    let width = image.width();
    for row in 0..image.height() {
        let from = row * width;
        let to = (top + row) * texture.width() + left;
        texture.pixels[to..to + width].copy_from_slice(&image.pixels[from..from + width]);
    }
}

fn rasterise(
    context: &Context,
    shapes: Vec<ClippedShape>,
    pixels: Vec2,
    scale: f32,
    textures: &HashMap<TextureId, ColorImage>,
) -> Picture {
    let mut picture = Picture::new(index(pixels.x), index(pixels.y));
    for ClippedPrimitive { clip_rect, primitive } in context.tessellate(shapes, scale) {
        let Primitive::Mesh(mesh) = primitive else { continue };
        let Some(texture) = textures.get(&mesh.texture_id) else { continue };
        draw_mesh(&mut picture, clip_rect * scale, &mesh, scale, texture);
    }
    picture
}

fn draw_mesh(picture: &mut Picture, clip: Rect, mesh: &Mesh, scale: f32, texture: &ColorImage) {
    for corners in mesh.indices.chunks_exact(3) {
        let corner = |nth: usize| {
            let vertex = usize::try_from(corners[nth]).ok().and_then(|index| mesh.vertices.get(index));
            vertex.map(|vertex| Vertex { pos: (vertex.pos.to_vec2() * scale).to_pos2(), ..*vertex })
        };
        if let (Some(a), Some(b), Some(c)) = (corner(0), corner(1), corner(2)) {
            draw_triangle(picture, clip, [a, b, c], texture);
        }
    }
}

/// Twice the signed area of the triangle `a b p`.
fn edge(a: Pos2, b: Pos2, p: Pos2) -> f32 {
    (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x)
}

/// Whether a pixel's centre that lies exactly on `a b` belongs to this triangle: neighbours must not both
/// draw it.
fn owns_edge(a: Pos2, b: Pos2) -> bool {
    b.y < a.y || (b.y == a.y && b.x > a.x)
}

fn draw_triangle(picture: &mut Picture, clip: Rect, mut corners: [Vertex; 3], texture: &ColorImage) {
    let area = edge(corners[0].pos, corners[1].pos, corners[2].pos);
    if area == 0.0 || !area.is_finite() {
        return;
    }
    if area < 0.0 {
        corners.swap(1, 2);
    }
    let [a, b, c] = corners;
    let bounds = Rect::from_points(&[a.pos, b.pos, c.pos]).intersect(clip.round());
    let (right, bottom) = (index(bounds.right().ceil()), index(bounds.bottom().ceil()));
    for y in index(bounds.top().floor())..bottom.min(picture.height) {
        for x in index(bounds.left().floor())..right.min(picture.width) {
            let p = pos2(position(x) + 0.5, position(y) + 0.5);
            if !clip.round().contains(p) {
                continue;
            }
            let sides = [(b.pos, c.pos), (c.pos, a.pos), (a.pos, b.pos)];
            let weights = sides.map(|(from, to)| edge(from, to, p));
            let inside = |nth: usize| {
                weights[nth] > 0.0 || (weights[nth] == 0.0 && owns_edge(sides[nth].0, sides[nth].1))
            };
            if (0..3).all(inside) {
                let weights = weights.map(|weight| weight / area.abs());
                let color = shade([&a, &b, &c], weights, texture);
                let pixel = &mut picture.pixels[y * picture.width + x];
                *pixel = over(color, *pixel);
            }
        }
    }
}

/// Vertex colour times texture, premultiplied, each channel 0 to 255.
fn shade(corners: [&Vertex; 3], weights: [f32; 3], texture: &ColorImage) -> [f32; 4] {
    let mut color = [0.0_f32; 4];
    let mut uv = Vec2::ZERO;
    for (corner, weight) in corners.into_iter().zip(weights) {
        for (sum, channel) in color.iter_mut().zip(corner.color.to_array()) {
            *sum += weight * f32::from(channel);
        }
        uv += weight * corner.uv.to_vec2();
    }
    if texture.width() == 0 || texture.height() == 0 {
        return color;
    }
    let texel = |along: f32, length: usize| index(along * position(length)).min(length - 1);
    let at = texel(uv.y, texture.height()) * texture.width() + texel(uv.x, texture.width());
    for (channel, factor) in color.iter_mut().zip(texture.pixels[at].to_array()) {
        *channel *= f32::from(factor) / 255.0;
    }
    color
}

fn over(color: [f32; 4], below: Color32) -> Color32 {
    let rest = 1.0 - color[3] / 255.0;
    let mix = |nth: usize| byte(color[nth] + rest * f32::from(below.to_array()[nth]));
    Color32::from_rgb(mix(0), mix(1), mix(2))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is meant"
)]
fn byte(value: f32) -> u8 {
    value.round() as u8
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is meant"
)]
fn index(value: f32) -> usize {
    value as usize
}

#[allow(clippy::cast_precision_loss, reason = "pictures are smaller than 2^24 pixels a side")]
fn position(index: usize) -> f32 {
    index as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_covers_exactly_its_pixels() {
        let red = Color32::from_rgb(200, 10, 10);
        let picture = draw(egui::vec2(40.0, 20.0), 2.0, |ui| {
            let rect = Rect::from_min_max(pos2(5.0, 5.0), pos2(15.0, 10.0));
            ui.painter().rect_filled(rect, 0.0, red);
        });
        assert_eq!((picture.width, picture.height), (80, 40));
        assert_eq!(picture.count(red), 20 * 10);
        assert_eq!(picture.count(theme::BACKGROUND), 80 * 40 - 20 * 10, "neither gaps nor seams");
    }

    #[test]
    fn words_are_drawn() {
        let picture = draw(egui::vec2(80.0, 24.0), 1.0, |ui| drop(ui.label("level")));
        let lit = picture.pixels.iter().filter(|pixel| pixel.g() > 0x80).count();
        assert!((30..300).contains(&lit), "{lit}");
    }

    #[test]
    fn a_picture_becomes_a_png() {
        let mut file = Vec::new();
        Picture::new(3, 2).write_png(&mut file).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(&file)).read_info().unwrap();
        let mut bytes = vec![0; 18];
        reader.next_frame(&mut bytes).unwrap();
        let [r, g, b, _] = theme::BACKGROUND.to_array();
        assert_eq!(bytes, [r, g, b].repeat(6));
    }
}
