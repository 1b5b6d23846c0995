-- One test; sqlcmd -b makes an error the container's exit code.
CREATE DATABASE shop;
GO
USE shop;
CREATE TABLE orders (id int IDENTITY PRIMARY KEY, item nvarchar(40) NOT NULL);
INSERT INTO orders (item) VALUES (N'shirt');
IF (SELECT COUNT(*) FROM orders) <> 1 THROW 50000, 'expected one order', 1;
PRINT 'orders: ok';
