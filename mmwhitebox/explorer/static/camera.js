// A picture from the camera, where there is one.
import {byId} from './elements.js';
import {showError} from './messages.js';
import {newCanvas} from './pixels.js';

export async function offerCamera(button, take) {
  const devices = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []) ?? [];
  button.hidden = !devices.some(device => device.kind === 'videoinput');
  button.onclick = () => openCamera(take);
}

async function openCamera(take) {
  const dialog = byId('camera-view');
  const video = dialog.querySelector('video');
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: 1280}}});
  } catch {
    showError('The camera cannot be used: it is taken, or the browser does not allow it.');
    return;
  }
  dialog.onclose = () => stream.getTracks().forEach(track => track.stop());
  const shoot = byId('shoot');
  shoot.disabled = true;
  video.onloadeddata = () => {
    shoot.disabled = false;
  };
  shoot.onclick = () => {
    const canvas = newCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.toBlob(blob => {
      dialog.close();
      take(blob, 'camera.png');
    }, 'image/png');
  };
  video.srcObject = stream;
  dialog.showModal();
}
