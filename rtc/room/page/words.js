// Every sentence of the page, in English and in Chinese.

const en = {
  room: (r) => `Room ${r}`,
  watching: (n) => (n === 1 ? '1 viewer' : `${n} viewers`),
  soundOn: 'Sound on', soundOff: 'Sound off', turnOn: 'Turn on sound', sound: 'Sound',
  full: 'Full screen', details: 'Details', bigger: (u) => `Show ${u} full screen`, detailsOf: (u) => `Details of ${u}`,
  connecting: 'Connecting…', reconnecting: 'Reconnecting…', offline: 'No network. Waiting for it to return…',
  emptyHead: (r) => `Nobody is in room ${r} yet.`, emptyText: 'The picture appears here by itself.',
  waitHead: (r) => `Connecting to room ${r}…`, waitText: 'The page keeps trying by itself.',
  closedHead: 'This room was closed.', closedText: 'The picture comes back by itself when the room opens again.',
  refusedHead: 'You may not watch this room.', refusedText: 'The address lacks a valid token, or it has expired. Ask for a new address.',
  badHead: 'There is no room at this address.', badText: 'Check the end of the address: a room has a number or a short name.',
  oldHead: 'This browser cannot show live pictures.', oldText: 'It lacks WebRTC. Use a current Chrome, Edge, Firefox or Safari.',
  opening: (u) => `Connecting to ${u}…`,
  lost: (u, t) => `Connection to ${u} lost ${t} ago, waiting for it to return`,
  stalled: (u, t) => `No picture or sound from ${u} for ${t}. Reconnecting…`,
  away: (t) => `Connection to the server lost ${t} ago. Reconnecting…`,
  refused: (u) => `You may not watch ${u}`,
  cameraOff: 'Camera is off', bothOff: 'Camera and microphone are off',
  live: 'live', joined: (u) => `${u} joined`, left: (u) => `${u} left`, kicked: (u) => `${u} was removed from the room`,
  back: (u) => `${u} is back`, lostShort: (u) => `Connection to ${u} lost`, connected: 'Connected again',
  micOff: 'microphone off', speaking: 'speaking',
  time: (s) => (s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`),
  fact: { size: 'Picture', fps: 'Frames', rate: 'Rate', loss: 'Lost', rtt: 'Round trip', delay: 'Buffer', codec: 'Codec', drop: 'Dropped', freeze: 'Freezes' },
  fps: (n) => `${n} fps`,
};

const zh = {
  room: (r) => `房间 ${r}`,
  watching: (n) => `${n} 人观看`,
  soundOn: '声音已开', soundOff: '声音已关', turnOn: '打开声音', sound: '声音',
  full: '全屏', details: '详情', bigger: (u) => `全屏显示 ${u}`, detailsOf: (u) => `${u} 的详情`,
  connecting: '正在连接…', reconnecting: '正在重新连接…', offline: '网络已断开，正在等待恢复…',
  emptyHead: (r) => `房间 ${r} 里还没有人。`, emptyText: '画面会自动出现在这里。',
  waitHead: (r) => `正在连接房间 ${r}…`, waitText: '页面会自动重试。',
  closedHead: '此房间已解散。', closedText: '房间重新开放后，画面会自动恢复。',
  refusedHead: '您无权观看此房间。', refusedText: '地址中缺少有效的令牌，或令牌已过期。请索取新的地址。',
  badHead: '此地址没有对应的房间。', badText: '请检查地址末尾：房间是一个号码或简短的名称。',
  oldHead: '此浏览器无法显示实时画面。', oldText: '它不支持 WebRTC。请使用新版 Chrome、Edge、Firefox 或 Safari。',
  opening: (u) => `正在连接 ${u}…`,
  lost: (u, t) => `与 ${u} 的连接已断开 ${t}，正在等待恢复`,
  stalled: (u, t) => `${t}没有收到 ${u} 的音视频，正在重新连接…`,
  away: (t) => `与服务器的连接已断开 ${t}，正在重新连接…`,
  refused: (u) => `您无权观看 ${u}`,
  cameraOff: '摄像头已关闭', bothOff: '摄像头和麦克风已关闭',
  live: '直播中', joined: (u) => `${u} 已进入房间`, left: (u) => `${u} 已离开`, kicked: (u) => `${u} 已被移出房间`,
  back: (u) => `${u} 已恢复`, lostShort: (u) => `与 ${u} 的连接已断开`, connected: '已重新连接',
  micOff: '麦克风已关闭', speaking: '正在讲话',
  time: (s) => (s < 60 ? `${s} 秒` : s < 3600 ? `${Math.floor(s / 60)} 分钟` : `${Math.floor(s / 3600)} 小时`),
  fact: { size: '画面', fps: '帧率', rate: '码率', loss: '丢包', rtt: '往返', delay: '缓冲', codec: '编码', drop: '丢帧', freeze: '卡顿' },
  fps: (n) => `${n} 帧/秒`,
};

const asked = new URLSearchParams(location.search).get('lang');
const tags = asked ? [asked] : navigator.languages || [navigator.language || 'en'];
// The first language of the reader that we speak decides.
const found = tags.map((t) => t.toLowerCase().slice(0, 2)).find((t) => t === 'zh' || t === 'en');

export const words = found === 'zh' ? zh : en;
export const language = found === 'zh' ? 'zh-CN' : 'en';
