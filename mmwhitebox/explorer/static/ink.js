// Colours of lines and letters: those of the page, which follow its theme, and those of paper for what is saved.
export const PAGE_INK = {text: 'var(--text)', faint: 'var(--faint)', line: 'var(--line)', back: null,
  lines: ['var(--line-1)', 'var(--line-2)', 'var(--line-3)']};
export const PAPER_INK = {text: '#1c1c1c', faint: '#595959', line: '#d0d0d0', back: '#ffffff',
  lines: ['#0072b2', '#c44e00', '#008661']};
