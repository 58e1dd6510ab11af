/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "linux/network.h"

enum { ADDRESS_TEXT_MAX = INET6_ADDRSTRLEN + sizeof("/128") };

static const uint32_t mtu_min = 68, mtu_max = 65535;

void network_mac_write(const uint8_t mac[static 6], char text[static NETWORK_MAC_TEXT])
{
	(void)snprintf(text, NETWORK_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		       mac[5]);
}

static int hex_digit(char digit)
{
	const char *digits = "0123456789abcdef";
	const char *at = digit ? strchr(digits, digit | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

int network_mac_read(const char *text, uint8_t mac[static 6])
{
	if (strlen(text) != NETWORK_MAC_TEXT - 1)
		return -EINVAL;
	for (unsigned i = 0; i < 6; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* ---- writing ---- */

/* prefix < 0: without. */
static void put_address(struct str *out, const char *name, uint8_t family, const uint8_t *bytes, int prefix)
{
	char text[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(family, bytes, text, sizeof(text));
	if (name)
		str_printf(out, "\"%s\":", name);
	str_printf(out, "\"%s", text);
	if (prefix >= 0)
		str_printf(out, "/%d", prefix);
	str_append(out, "\"");
}

static void put_route(struct str *out, const struct network_route *route)
{
	str_append(out, "{");
	put_address(out, "to", route->family, route->to, route->prefix);
	if (route->has_gateway) {
		str_append(out, ",");
		put_address(out, "via", route->family, route->gateway, -1);
	}
	if (route->has_source) {
		str_append(out, ",");
		put_address(out, "source", route->family, route->source, -1);
	}
	str_printf(out, ",\"scope\":%u,\"metric\":%u,\"onLink\":%s}", route->scope, route->metric,
		   route->on_link ? "true" : "false");
}

static void put_interface(struct str *out, const struct network_interface *interface)
{
	char mac[NETWORK_MAC_TEXT];

	network_mac_write(interface->mac, mac);
	str_append(out, "{\"name\":");
	json_append_string(out, interface->name);
	str_printf(out, ",\"mac\":\"%s\",\"mtu\":%u,\"addresses\":[", mac, interface->mtu);
	for (size_t i = 0; i < interface->addresses_count; i++) {
		const struct network_address *address = &interface->addresses[i];

		str_append(out, i ? ",{" : "{");
		put_address(out, "local", address->family, address->local, address->prefix);
		str_append(out, ",");
		put_address(out, "peer", address->family, address->peer, -1);
		str_append(out, "}");
	}
	str_append(out, "],\"routes\":[");
	for (size_t i = 0; i < interface->routes_count; i++) {
		str_append(out, i ? "," : "");
		put_route(out, &interface->routes[i]);
	}
	str_append(out, "]}");
}

void network_write(const struct network_interface *list, size_t count, struct str *out)
{
	str_append(out, "[");
	for (size_t i = 0; i < count; i++) {
		str_append(out, i ? "," : "");
		put_interface(out, &list[i]);
	}
	str_append(out, "]");
}

/* ---- reading: whoever wrote it ---- */

static int malformed(struct error *err, const char *what)
{
	return error_set(err, EINVAL, "the network's description is malformed: %s", what);
}

static const char *get_text(const struct json_value *object, const char *name)
{
	const struct json_value *value = json_find(object, name);

	return value && value->kind == JSON_KIND_STRING ? value->text : NULL;
}

static uint32_t get_number(const struct json_value *object, const char *name, uint32_t otherwise)
{
	const struct json_value *value = json_find(object, name);

	return value && value->kind == JSON_KIND_INTEGER && !value->truth && value->magnitude <= UINT32_MAX
		       ? (uint32_t)value->magnitude
		       : otherwise;
}

/* Of a known family; or of any (0), which it sets. */
static int get_address(const char *text, uint8_t *family, uint8_t *bytes)
{
	uint8_t found = text && strchr(text, ':') ? AF_INET6 : AF_INET;

	if (!text || (*family && *family != found) || inet_pton(found, text, bytes) != 1)
		return -EINVAL;
	*family = found;
	return 0;
}

static int get_prefixed(const char *text, uint8_t *family, uint8_t *bytes, uint8_t *prefix)
{
	char copy[ADDRESS_TEXT_MAX];
	uint64_t number;
	char *slash;

	if (!text || strlen(text) >= sizeof(copy))
		return -EINVAL;
	(void)snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	if (get_address(copy, family, bytes) < 0 || str_to_u64(slash + 1, &number) < 0 ||
	    number > (*family == AF_INET ? 32 : 128))
		return -EINVAL;
	*prefix = (uint8_t)number;
	return 0;
}

static int read_addresses(const struct json_value *list, struct network_interface *interface, struct error *err)
{
	const struct json_value *item = list && list->kind == JSON_KIND_ARRAY ? list->first : NULL;

	for (; item; item = item->next) {
		struct network_address address = { .family = 0 };

		if (interface->addresses_count == NETWORK_ADDRESSES_MAX)
			return malformed(err, "too many addresses");
		if (get_prefixed(get_text(item, "local"), &address.family, address.local, &address.prefix) < 0 ||
		    get_address(get_text(item, "peer"), &address.family, address.peer) < 0)
			return malformed(err, "an address");
		interface->addresses[interface->addresses_count++] = address;
	}
	return 0;
}

static int read_route(const struct json_value *item, struct network_route *route)
{
	const char *gateway = get_text(item, "via"), *source = get_text(item, "source");
	const struct json_value *on_link = json_find(item, "onLink");
	uint32_t scope = get_number(item, "scope", 0);

	if (get_prefixed(get_text(item, "to"), &route->family, route->to, &route->prefix) < 0 || scope > UINT8_MAX ||
	    (gateway && get_address(gateway, &route->family, route->gateway) < 0) ||
	    (source && get_address(source, &route->family, route->source) < 0))
		return -EINVAL;
	route->scope = (uint8_t)scope;
	route->has_gateway = gateway;
	route->has_source = source;
	route->metric = get_number(item, "metric", 0);
	route->on_link = on_link && on_link->kind == JSON_KIND_BOOL && on_link->truth;
	return 0;
}

static int read_routes(const struct json_value *list, struct network_interface *interface, struct error *err)
{
	const struct json_value *item = list && list->kind == JSON_KIND_ARRAY ? list->first : NULL;

	for (; item; item = item->next) {
		struct network_route route = { .family = 0 };

		if (interface->routes_count == NETWORK_ROUTES_MAX)
			return malformed(err, "too many routes");
		if (read_route(item, &route) < 0)
			return malformed(err, "a route");
		interface->routes[interface->routes_count++] = route;
	}
	return 0;
}

static int read_interface(const struct json_value *item, struct network_interface *interface, struct error *err)
{
	const char *name = get_text(item, "name"), *mac = get_text(item, "mac");
	int ret;

	*interface = (struct network_interface){ .mtu = get_number(item, "mtu", 0) };
	if (!name || !*name || strlen(name) >= IFNAMSIZ || strpbrk(name, "/ \t\n:"))
		return malformed(err, "a name");
	if (!mac || network_mac_read(mac, interface->mac) < 0)
		return malformed(err, "a hardware address");
	if (interface->mtu < mtu_min || interface->mtu > mtu_max)
		return malformed(err, "an MTU");
	memcpy(interface->name, name, strlen(name));
	ret = read_addresses(json_find(item, "addresses"), interface, err);
	return ret == 0 ? read_routes(json_find(item, "routes"), interface, err) : ret;
}

int network_read(const char *text, size_t size, struct network_interface *list, size_t *count, struct error *err)
{
	struct arena arena = { .head = NULL };
	const struct json_value *root = NULL;
	int ret = size > NETWORK_JSON_MAX ? malformed(err, "too long") : json_parse(text, size, &arena, &root, err);

	*count = 0;
	if (ret == 0 && root->kind != JSON_KIND_ARRAY)
		ret = malformed(err, "no list");
	for (const struct json_value *item = ret == 0 ? root->first : NULL; ret == 0 && item; item = item->next) {
		if (*count == NETWORK_INTERFACES_MAX)
			ret = malformed(err, "too many interfaces");
		else
			ret = read_interface(item, &list[(*count)++], err);
	}
	arena_free(&arena);
	return ret;
}
