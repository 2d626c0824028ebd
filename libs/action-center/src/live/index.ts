export * from './live-feed.js';
export { type LiveOptions } from './live-hub.js';
export {
  LAST_NOTIFICATIONS,
  NOTIFICATION_TYPES,
  notificationOf,
  publicBody,
  type Notification,
  type NotificationFacts,
  type NotificationType,
} from './notification.js';
export { type LiveItem } from './subscriber.js';
