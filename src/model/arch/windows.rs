//! Windows of a map that attend by themselves, and the biases that their places have for one another.

use super::ArchError;
use super::layers::Layers;
use crate::graph::{NodeId, Role};

type Made = Result<NodeId, ArchError>;

/// How a map `[N, height, width, channels]` is dealt to windows.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    /// Height and width of each.
    pub side: [usize; 2],
    /// Whether a window holds places that lie as far apart as windows fit into the map, not neighbours (Tu et al., arXiv 2204.01697).
    pub grid: bool,
}

impl Windows {
    /// Each window as an image of its own: `[windows N, places, channels]`.
    pub(super) fn apart(self, net: &mut Layers, name: &str, x: NodeId) -> Made {
        let dims = net.dims(x);
        let &[h, w, channels] = dims.as_slice() else { return Ok(x) };
        let Some([down, across]) = self.count(net, name, [h, w])? else { return Ok(x) };
        let [sh, sw] = self.side;
        let (split, order) = if self.grid {
            ([sh, down, sw, across, channels], [0, 2, 4, 1, 3, 5])
        } else {
            ([down, sh, across, sw, channels], [0, 1, 3, 2, 4, 5])
        };
        let x = net.reshape(&format!("{name}.windows.split"), x, &split)?;
        let x = net.transpose(&format!("{name}.windows.order"), x, &order)?;
        net.reshape_by(&format!("{name}.windows"), x, down * across, &[sh * sw, channels])
    }

    /// The map `[N, height, width, channels]` of its windows.
    pub(super) fn together(self, net: &mut Layers, name: &str, x: NodeId, [h, w]: [usize; 2]) -> Made {
        let Some([down, across]) = self.count(net, name, [h, w])? else { return Ok(x) };
        let [sh, sw] = self.side;
        let channels = net.width(x);
        let order = if self.grid { [0, 3, 1, 4, 2, 5] } else { [0, 1, 3, 2, 4, 5] };
        let x = net.reshape(&format!("{name}.map.split"), x, &[down, across, sh, sw, channels])?;
        let x = net.transpose(&format!("{name}.map.order"), x, &order)?;
        net.reshape(&format!("{name}.map"), x, &[h, w, channels])
    }

    /// How many windows there are down and across; none after a tensor that does not fit.
    fn count(self, net: &Layers, name: &str, [h, w]: [usize; 2]) -> Result<Option<[usize; 2]>, ArchError> {
        let [sh, sw] = self.side;
        if !net.is_whole() {
            return Ok(None);
        }
        if sh == 0 || sw == 0 || !h.is_multiple_of(sh) || !w.is_multiple_of(sw) {
            return Err(ArchError::Unsupported(format!("`{name}`: a map of {h} x {w} cannot be dealt to windows of {sh} x {sw}")));
        }
        Ok(Some([h / sh, w / sw]))
    }
}

/// Where the bias of two places of a window stands in a table of `(2 height - 1) (2 width - 1)` offsets, pair by pair.
pub(super) fn offsets([h, w]: [usize; 2]) -> Vec<usize> {
    let places = || (0..h).flat_map(move |y| (0..w).map(move |x| (y, x)));
    places().flat_map(|(y, x)| places().map(move |(v, u)| (y + h - 1 - v) * (2 * w - 1) + (x + w - 1 - u))).collect()
}

/// The biases `[1, heads, places, places]` of a table `[offsets, heads]`.
pub(super) fn from_table(net: &mut Layers, name: &str, table: NodeId, side: [usize; 2], heads: usize) -> Made {
    let places = side[0] * side[1];
    let pairs = net.select(&format!("{name}.pairs"), table, 0, offsets(side))?;
    let pairs = net.reshape_fixed(&format!("{name}.square"), pairs, &[1, places, places, heads])?;
    net.transpose(&format!("{name}.bias"), pairs, &[0, 3, 1, 2])
}

/// The biases of a tensor `[offsets, heads]` of the file.
pub(super) fn bias(net: &mut Layers, name: &str, side: [usize; 2], heads: usize) -> Made {
    let offsets = side.map(|size| (2 * size).saturating_sub(1)).iter().product();
    let table = net.tensor(name, &[offsets, heads], Role::Embedding);
    from_table(net, name, table, side, heads)
}
