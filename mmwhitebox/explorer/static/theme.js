// Light, dark, or as the system: kept for the next visit where the browser allows it.
const KEY = 'mmwhitebox-theme';

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Not kept, then.
  }
}

export function startTheme(select) {
  const found = kept();
  select.value = ['light', 'dark'].includes(found) ? found : 'auto';
  applyTheme(select.value);
  select.onchange = () => applyTheme(select.value);
}

export function nextTheme(select) {
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  applyTheme(select.value);
}
